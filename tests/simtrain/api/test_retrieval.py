"""The testing half of simtrain's Python interface: the same figures as the commands."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from command_line import call
from examples import must_run

import simtrain
from simdata.common.errors import UserError

QUICK = {"experiment": "new-subjects", "clips": 40, "draws": 2, "device": "cpu"}
WORDS = ["--experiment", "new-subjects", "--clips", 40, "--draws", 2, "--device", "cpu"]


@pytest.fixture(scope="module")
def commanded(trained, store, tmp_path_factory):
    """A copy of the run that the command has tested."""
    folder = tmp_path_factory.mktemp("commanded") / "run"
    shutil.copytree(trained.path, folder, ignore=shutil.ignore_patterns("retrieval*", "reconstruction"))
    call("retrieve", folder, store, *WORDS, "--lags", "5:7", "--split", "test")
    return folder


@pytest.mark.parametrize("as_given", [str, Path, lambda path: SimpleNamespace(path=path)])
def test_retrieve_gives_and_writes_what_the_command_does(commanded, store, tmp_path, as_given):
    asked = {"lags": range(5, 8), "split": "test", "out": tmp_path, **QUICK}
    found = simtrain.retrieve(as_given(commanded), str(store), **asked)
    written = json.loads((tmp_path / "retrieval.json").read_text())
    assert written == json.loads((commanded / "retrieval.json").read_text())
    for table in ("subjects", "rows", "clips", "lags", "windows"):
        name = Path("retrieval") / f"{table}.csv"
        assert (tmp_path / name).read_bytes() == (commanded / name).read_bytes()
        assert len(found.tables[table])
    directions = written["experiments"]["new-subjects"]["directions"]
    for row in found.metrics.query("figure == 'top-1'").itertuples():
        told = directions[row.direction]["top-1"]
        same = ("mean", "sd_over_draws", "sd_over_rows", "chance", "chance_95", "p", "family_p")
        assert {name: getattr(row, name) for name in same} == {name: told[name] for name in same}
        assert told["interval"] is None
        assert np.isnan(row.low)
        assert row.nominal == 1 / 32


def test_retrieve_in_a_thread_without_files_gives_the_same(commanded, store, tmp_path):
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(
            simtrain.retrieve, commanded, store, save=False, out=tmp_path / "not", **QUICK
        ).result()
    assert not (tmp_path / "not").exists()
    told = json.loads((commanded / "retrieval.json").read_text())["experiments"]["new-subjects"]
    here = found.metrics.query("figure == 'top-5'").set_index("direction")["mean"]
    assert here.to_dict() == {name: one["top-5"]["mean"] for name, one in told["directions"].items()}


def test_what_has_no_interval_is_nan(commanded, store):
    found = simtrain.retrieve(
        commanded, store, **{**QUICK, "draws": 2, "clips": 20}, average_subjects=True, pool=20, save=False
    )
    assert found.metrics[["low", "high"]].isna().all(axis=None)
    assert repr(found) == (
        "<Retrieval (ours, but pool 20, clips 20, draws 2 and average subjects): test set, pool of 20, "
        "same-movie negatives, lag 6 s, mean of hemispheres, mean of subjects; new-subjects>"
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"experiment": "old"}, "experiment: 'old' is not one of new-subjects"),
        ({"pool": 1}, "pool: 1 is less than 2"),
        ({"pool": "film"}, "pool: 'film' is neither"),
        ({"draws": 1}, "draws: 1 is less than 2"),
        ({"subjects": "nobody"}, "has no subject nobody"),
        ({"protocol": "theirs"}, "protocol: 'theirs' is not one of ours, published-code, published-paper"),
        ({"lag": -1}, "lag: -1 is less than 0"),
        ({"negatives": "any"}, "negatives: 'any' is not one of same-movie"),
        ({"device": "tpu"}, "device: 'tpu' is not one of auto"),
        ({"out": "s3://here"}, "out: 's3://here' is a URL"),
    ],
)
def test_what_is_out_of_range_is_named(commanded, store, wrong, message):
    with pytest.raises(UserError, match=message):
        simtrain.retrieve(commanded, store, **{**QUICK, **wrong})


def test_a_protocol_by_its_name_is_its_options_and_what_is_given_counts_before_it(commanded, store, tmp_path):
    """The store's training scenes are one film clip a movie: there are no others in them."""
    found = simtrain.retrieve(
        commanded,
        store,
        protocol="published-paper",
        pool={"video": 12, "audio": 8},
        experiment="new-subjects",
        device="cpu",
        out=tmp_path,
    )
    options = ("--hemispheres", "each", "--pool", "video=12,audio=8", "--negatives", "same-clip", "--gap", 3)
    runs = ("--clips-of", "run", "--draws", 1, "--joint", "none")
    shown = call("retrieve", commanded, store, "--experiment", "new-subjects", *options, *runs)
    told = json.loads((commanded / "retrieval.json").read_text())
    here = json.loads((tmp_path / "retrieval.json").read_text())
    assert here["protocol"].pop("name") == "published-paper, but pool video=12,audio=8"
    assert (
        told["protocol"].pop("name").startswith("ours, but pool video=12,audio=8, clips of run, draws 1, neg")
    )
    assert here == told
    assert "mean ± s.d. over rows (subject, movie and hemisphere); no interval with fewer" in " ".join(
        shown.split()
    )
    assert "Retrieval (ours, but pool" in shown
    assert repr(found).startswith("<Retrieval (published-paper, but pool")
    rows = found.tables["rows"].query("direction == 'fmri->video'")
    assert len(rows) == 2 * 2 * 2  # subjects, movies, hemispheres
    assert (rows.n == 100).all()
    top1 = found.metrics.query("figure == 'top-1' and direction == 'fmri->video'").iloc[0]
    assert (top1["mean"], top1.sd_over_rows) == pytest.approx((rows.top1.mean(), rows.top1.std(ddof=0)))
    assert top1.isna().sd_over_draws


def test_what_is_left_out_by_name_is_not_tested_in_the_command_either(commanded, store, tmp_path):
    options = ("--experiment", "seen", "--subject", "s1", "--subject", "s3", "--movie", "M1", "--draws", 2)
    shown = call("retrieve", commanded, store, *options, "--clips", 20, "--out", tmp_path / "told")
    assert "ours, but clips 20, draws 2, subjects s1 s3 and movies M1" in " ".join(shown.split())
    asked = {"clips": 20, "draws": 2, "subjects": ["s1", "s3"], "movies": "M1", "device": "cpu"}
    found = simtrain.retrieve(commanded, store, experiment="seen", out=tmp_path / "here", **asked)
    told, here = (tmp_path / of / "retrieval-train.json" for of in ("told", "here"))
    assert told.read_bytes() == here.read_bytes()
    assert set(found.tables["windows"].subject) == {"s1", "s3"}
    with pytest.raises(UserError, match=r"has no retrieval\.json \(but retrieval-train\.json\)"):
        simtrain.compare(tmp_path / "told", tmp_path / "here")
    compared = simtrain.compare(tmp_path / "told", tmp_path / "here", experiment="seen", subjects=["s1"])
    assert set(compared.subjects.subject) == {"s1"}
    assert set(compared.metrics.experiment) == {"seen"}
    shown = call("compare", tmp_path / "told", tmp_path / "here", "--experiment", "seen")
    assert "seen: subjects and scenes that the model was trained on" in " ".join(shown.split())


def test_a_pool_that_is_too_large_for_the_store_says_what_to_do(commanded, store):
    with pytest.raises(
        UserError, match=r"new-subjects, video: a window has only \d+ same-clip .*use `pool` \d+"
    ):
        simtrain.retrieve(commanded, store, protocol="published-paper", device="cpu", save=False)
    with pytest.raises(
        UserError, match="only 0 other-clips-or-retest negatives; use other `negatives` or another `exp"
    ):
        simtrain.retrieve(commanded, store, protocol="published-code", device="cpu", save=False)


def test_baseline_gives_and_writes_what_the_command_does(store, tmp_path):
    words = ("--kind", "ridge", "--config", "demo", "--ico", 1, *WORDS)
    shown = call("baseline", store, "--out", tmp_path / "told", *words)
    asked = {"config": "demo", "ico": 1, **QUICK}
    found = simtrain.baseline(simtrain.open_dataset(store), tmp_path / "out", "ridge", **asked)
    assert list(found) == ["ridge"]
    for name in ("retrieval.json", "fit.json", "retrieval/windows.csv"):
        assert (tmp_path / "out" / "ridge" / name).read_bytes() == (
            tmp_path / "told" / "ridge" / name
        ).read_bytes()
    assert f"features {found['ridge'].notes['features']}" in shown


def test_a_wrong_baseline_is_named_before_anything_is_fitted(store, tmp_path):
    for wrong, message in (
        ({"kinds": ["ridge", "svm"]}, "kinds: 'svm' is not one of ridge, pca, intersubject"),
        ({"draws": 1}, "draws: 1 is less than 2"),
        ({"experiment": "old"}, "experiment: 'old' is not one of"),
        ({"delays": (-50, 50)}, "delays: no training window has all of -50 to 50 s"),
    ):
        with pytest.raises(UserError, match=message):
            simtrain.baseline(store, tmp_path / "out", **{"kinds": "ridge", "config": "demo", **wrong})


def test_examples_run(commanded, store, tmp_path):
    must_run(simtrain.retrieve, run=commanded, store=store)
    must_run(simtrain.baseline, store=store, out=tmp_path)
