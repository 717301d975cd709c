"""The whole path as a user walks it: demo release, store, training, retrieval."""

import json

import pytest
from click.testing import CliRunner

from simdata.cli import cli as simdata
from simtrain.cli.root import cli as simtrain


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(run, store) of the quickstart, from a release on the coarser meshes to save time."""
    folder = tmp_path_factory.mktemp("demo")
    release, store, run = folder / "release", folder / "demo.zarr", folder / "run"
    call(simdata, "demo", release, "--density", "32k")
    places = ["--source", release / "hcp", "--movies", release / "movies", "--out", store]
    call(simdata, "build", "demo", *places, "--workers", "2")
    call(simtrain, "fit", store, "--config", "demo", "--out", run)
    return run, store


def call(command, *arguments):
    CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


def retrieve(trained, *options, file="retrieval.json"):
    """What `simtrain retrieve` writes."""
    run, store = trained
    call(simtrain, "retrieve", run, store, *options)
    return json.loads((run / file).read_text())


def top1(content, experiment):
    """Top-1 (share) and p of every direction."""
    directions = content["experiments"][experiment]["directions"]
    return {name: (found["top-1"]["mean"], found["top-1"]["p"]) for name, found in directions.items()}


@pytest.fixture(scope="module")
def tested(trained):
    return retrieve(trained)


@pytest.mark.parametrize(
    ("experiment", "least"), [("new-subjects", 4 / 32), ("new-scenes", 2 / 32), ("both", 2 / 32)]
)
def test_the_planted_signal_is_found_in_new_subjects_and_scenes(tested, experiment, least):
    found = top1(tested, experiment)
    stimuli = ("video", "audio", "video+audio")
    assert set(found) == {f"fmri->{name}" for name in stimuli} | {f"{name}->fmri" for name in stimuli}
    assert all(p < 0.01 for _, p in found.values()), found
    assert found["fmri->video"][0] > least, found


def test_the_planted_lag_is_where_retrieval_is_best(trained):
    content = retrieve(trained, "--experiment", "new-subjects", "--lags", "3:9", file="retrieval-val.json")
    rows = content["tables"]["lags"]
    for direction in ("fmri->video", "fmri->audio"):
        curve = {row["lag"]: row["top1"] for row in rows if row["direction"] == direction}
        assert max(curve, key=curve.get) in (5, 6, 7), (
            curve
        )  # 6 s is planted, the response lasts some seconds


@pytest.mark.parametrize("control", [["--lag", "14"], ["--shuffle"]], ids=["wrong lag", "shuffled stimulus"])
def test_a_control_is_at_chance(trained, control):
    found = top1(retrieve(trained, "--experiment", "new-subjects", *control), "new-subjects")
    assert all(p > 0.05 for _, p in found.values()), found
    # 1 in 32 is chance; neighbours in time make draws of the same windows depend on each other.
    assert all(top < 2.5 / 32 for top, _ in found.values()), found


def test_a_run_keeps_its_sets_when_its_store_is_divided_otherwise(trained, tested):
    """The last of this file: the store is another one afterwards."""
    call(simdata, "resplit", trained[1], "--splits", "whole-clips")
    assert top1(retrieve(trained, "--experiment", "both"), "both") == top1(tested, "both")
    taken = retrieve(trained, "--splits", "whole-clips")
    assert list(taken["experiments"]) == ["new-subjects"]
