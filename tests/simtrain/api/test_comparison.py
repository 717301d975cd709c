"""simtrain.compare, of runs and baselines that were really tested."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from command_line import call
from examples import must_run

import simtrain
from simdata.common.errors import UserError
from simtrain.cli.root import cli

QUICK = {"experiment": "new-subjects", "clips": 40, "draws": 2, "device": "cpu"}


@pytest.fixture(scope="module")
def tested(trained, store, tmp_path_factory):
    """A run, one of a single step, and PCA, in the same test."""
    folder = tmp_path_factory.mktemp("compared")
    shutil.copytree(trained.path, folder / "run", ignore=shutil.ignore_patterns("retrieval*", "recon*"))
    one_step = {"train.steps": 1, "train.batch_size": 8}
    simtrain.fit(store, folder / "untrained", "demo", overrides=one_step, device="cpu", progress=False)
    found = {name: simtrain.retrieve(folder / name, store, **QUICK) for name in ("run", "untrained")}
    found |= simtrain.baseline(store, folder, "pca", config="demo", components=8, **QUICK)
    return folder, found


def test_a_run_is_compared_with_another_and_with_a_baseline(tested):
    folder, found = tested
    for other in ("untrained", "pca"):
        compared = simtrain.compare(folder / "run", folder / other)
        means = [found[name].metrics.set_index(["direction", "figure"])["mean"] for name in ("run", other)]
        for row in compared.metrics.itertuples():
            key = row.direction, row.figure
            assert (row.one, row.other) == pytest.approx((means[0][key], means[1][key]))
        assert set(compared.metrics.subjects) == {2}
    assert repr(compared).startswith("<Comparison of run with pca:")


def test_what_is_in_memory_compares_as_what_is_in_files(tested):
    folder, found = tested
    files, memory = (
        simtrain.compare(folder / "run", folder / "untrained"),
        simtrain.compare(found["run"], found["untrained"]),
    )
    assert files.metrics.equals(memory.metrics)
    assert files.subjects.equals(memory.subjects)
    assert memory.names == ("run", "untrained")


def test_the_command_shows_and_writes_it(tested, tmp_path):
    folder, _ = tested
    shown = call("compare", folder / "run", folder / "untrained", "--out", tmp_path / "compared.json")
    content = json.loads((tmp_path / "compared.json").read_text())
    compared = simtrain.compare(folder / "run", folder / "untrained")
    assert content["names"] == ["run", "untrained"]
    top1 = compared.metrics.query("figure == 'top-1'")
    for row in top1.itertuples():
        assert f"{100 * row.difference:+.1f}" in shown
    np.testing.assert_array_equal([row["p"] for row in content["metrics"]], compared.metrics.p)


def test_a_test_of_before_clips_could_be_of_runs_still_compares(tested, tmp_path):
    folder, _ = tested
    shutil.copytree(folder / "run", tmp_path / "run")
    path = tmp_path / "run" / "retrieval.json"
    content = json.loads(path.read_text())
    del content["protocol"]["clips_of"]
    path.write_text(json.dumps(content))
    assert simtrain.compare(tmp_path / "run", folder / "pca").protocol["clips_of"] == "experiment"


def test_tests_by_a_protocol_are_compared_by_its_name(tested, store, tmp_path):
    folder, _ = tested
    asked = {"protocol": "published-paper", "negatives": "same-movie", "pool": 12, "save": False}
    run, other = (
        simtrain.retrieve(folder / name, store, experiment="new-subjects", device="cpu", **asked)
        for name in ("run", "untrained")
    )
    compared = simtrain.compare(run, other)
    assert compared.protocol["name"] == "published-paper, but pool 12 and negatives same-movie"
    assert set(compared.metrics.subjects) == {2}
    means = [one.metrics.set_index(["direction", "figure"])["mean"] for one in (run, other)]
    for row in compared.metrics.itertuples():
        key = row.direction, row.figure
        assert (row.one, row.other) == pytest.approx((means[0][key], means[1][key]))
    with pytest.raises(UserError, match="run was tested by the protocol published-paper, but pool 12 and"):
        simtrain.compare(run, other, protocol="published-paper")
    with pytest.raises(UserError, match="protocol: 'theirs' is not one of"):
        simtrain.compare(run, other, protocol="theirs")
    shown = call("compare", folder / "run", folder / "untrained")
    assert "in retrieval (ours, but clips 40 and draws 2)" in " ".join(shown.split())


@pytest.mark.parametrize("protocol", ["published-code", "published-paper", "ours"])
def test_a_run_and_ridge_are_compared_by_every_protocol(tested, store, tmp_path, protocol):
    """In pools that the small store can hold: its training scenes are one film clip a movie."""
    folder, _ = tested
    shared = {"experiment": "new-subjects", "device": "cpu", "protocol": protocol, "pool": 10}
    if protocol == "published-code":
        shared["negatives"] = "same-movie"
    simtrain.retrieve(folder / "run", store, out=tmp_path / "run", **shared)
    simtrain.baseline(store, tmp_path, "ridge", config="demo", ico=1, **shared)
    compared = simtrain.compare(tmp_path / "run", tmp_path / "ridge")
    assert compared.protocol["name"].startswith(protocol)
    of_each = {"fmri->video", "video->fmri", "fmri->audio", "audio->fmri"}
    of_all = {"fmri->video+audio", "video+audio->fmri"} if protocol == "ours" else set()
    assert set(compared.metrics.direction) == of_each | of_all
    of_each = compared.subjects.query("figure == 'top-1' and direction == 'fmri->video'")
    assert len(of_each) == 2
    row = compared.metrics.query("figure == 'top-1' and direction == 'fmri->video'").iloc[0]
    paired = (of_each.difference * of_each.n).sum() / of_each.n.sum()
    assert row.difference == pytest.approx(paired)
    assert (row.subjects, row.clips) == (2, 2)
    assert np.isnan(row.low)


def _cut(folder):
    path = folder / "retrieval" / "windows.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: len(lines) // 2]))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda run: (run / "retrieval.json").unlink(), "has no retrieval.json: test it again with"),
        (lambda run: (run / "retrieval" / "windows.csv").unlink(), "has no retrieval/windows.csv"),
        (lambda run: (run / "retrieval.json").write_text("{"), "its retrieval test is damaged"),
        (lambda run: (run / "retrieval.json").write_text("[]"), "its retrieval test is damaged"),
        (lambda run: (run / "retrieval" / "windows.csv").write_text("a,b\n1,2\n"), "is damaged"),
        (lambda run: (run / "retrieval" / "windows.csv").write_bytes(b"\xff\xfe"), "is damaged"),
        (_cut, "is not of the same test as"),
        (shutil.rmtree, "has no retrieval.json"),
    ],
)
def test_what_was_not_tested_or_is_damaged_is_named(tested, tmp_path, harm, message):
    folder, _ = tested
    shutil.copytree(folder / "run", tmp_path / "run")
    harm(tmp_path / "run")
    with pytest.raises(UserError, match=message):
        simtrain.compare(folder / "untrained", tmp_path / "run")
    result = CliRunner().invoke(cli, ["compare", str(folder / "untrained"), str(tmp_path / "run")])
    assert isinstance(result.exception, UserError)


def test_the_example_runs(tested):
    folder, found = tested
    must_run(simtrain.compare, run=folder / "run", untrained=found["untrained"])


def test_the_table_fits_a_terminal(tested, monkeypatch):
    folder, _ = tested
    monkeypatch.setenv("COLUMNS", "80")
    shown = call("compare", folder / "run", folder / "pca")
    assert "…" not in shown
