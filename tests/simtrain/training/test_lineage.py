"""A run against stores in which things joined, or were replaced, since it was trained."""

import json
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from click.testing import CliRunner
from rich.console import Console
from training_runs import TINY, assert_equal, fit_run, lines_of, start_run, stopping_at

from simdata.common.errors import UserError
from simtrain.cli.root import cli
from simtrain.config.composition import load
from simtrain.config.schema import PretrainConfig
from simtrain.data.dataset import open_dataset, resolve
from simtrain.training import checkpoint, lineage
from simtrain.training.loop import fit
from simtrain.training.pretraining import pretrain
from simtrain.training.run_folder import FitRun, PretrainRun
from simtrain.training.trained_model import load_learner

CPU = torch.device("cpu")
LEFT_OUT = "joined since training began, and left out of validation: s7/M1, s7/M2"
SHORT = ["train.steps=4", "train.validate_every=2"]
SOURCES = [[json.dumps({"sha256": f"{n}{m}" * 32}) for m in (1, 2)] for n in range(1, 7)]


@pytest.fixture(scope="module")
def store(store, tmp_path_factory):
    """As simdata writes it, with the sources of runs."""
    return _copy(store, tmp_path_factory.mktemp("lineage") / "own.zarr", lambda group: None)


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    return fit_run(store, tmp_path_factory.mktemp("lineage") / "run", *SHORT)[0]


def _copy(store, path, change):
    """A store with the BOLD of another one, and ``change`` made to the rest of it."""
    shutil.copytree(store, path, ignore=shutil.ignore_patterns("bold"))
    (path / "bold").symlink_to(store / "bold", target_is_directory=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sources = xr.Variable(("subject", "movie"), np.array(SOURCES, object))
        xr.Dataset({"run_source": sources}).to_zarr(path, mode="a", zarr_format=3)
        change(zarr.open_group(path, mode="r+", use_consolidated=False))
        zarr.consolidate_metadata(path)
    return path


def _changed(value):
    """``value`` of the features as a change of a store."""

    def change(group):
        group["video_shapes"][:] = value(group["video_shapes"][:])

    return change


def _without_row(values):
    values[0, 5] = np.nan
    return values


def _other_row(values):
    values[0, 5] += 1
    return values


def _noise(shape):
    return np.random.default_rng(0).normal(0, 0.01, shape).astype("f4")


OTHERS = {
    "one row": _other_row,
    "shifted by a second": lambda values: np.roll(values, 1, axis=1),
    "movies exchanged": lambda values: values[::-1],
    "sign": lambda values: 200 - values,
    "features exchanged": lambda values: values[..., ::-1],
    "scale": lambda values: (values - 100) * 1.2 + 100,
}
SAME = {
    "float32 rounding": lambda values: values * np.float32(1 + 3e-7),
    "half precision": lambda values: np.where(
        np.isnan(values), values, 100 + (values - 100).astype("f2").astype("f4")
    ),
    "other machine": lambda values: (
        values + np.random.default_rng(0).normal(0, 0.01, values.shape).astype("f4")
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_rows_are_refused_by_name(store, run, tmp_path, kind):
    dataset = open_dataset(_copy(store, tmp_path / "other.zarr", _changed(OTHERS[kind])))
    with pytest.raises(UserError, match=r"video_shapes was replaced: other rows in M1 \(\d+\)"):
        load_learner(run, dataset, CPU)
    with pytest.raises(UserError, match=r"video_shapes was replaced: other rows in M1 \(\d+\)"):
        _start_again(run, dataset)


@pytest.mark.parametrize("kind", SAME)
def test_rows_that_were_worked_out_again_are_the_same(store, run, tmp_path, kind):
    dataset = open_dataset(_copy(store, tmp_path / "other.zarr", _changed(SAME[kind])))
    assert (
        lineage.record(dataset, [dataset.embedding("video_shapes")])["embeddings"]
        != run.stores[0].record["embeddings"]
    )
    load_learner(run, dataset, CPU)
    assert _start_again(run, dataset).notes == []


def _start_again(run, dataset):
    return type(run).start(run.path, run.config, dataset)


def test_every_command_refuses_replaced_features(store, run, tmp_path):
    other = _copy(store, tmp_path / "other.zarr", _changed(_other_row))
    commands = {
        "retrieve": [run.path, other],
        "predict": [run.path, other, "--out", tmp_path / "predicted.zarr"],
        "reconstruct": [run.path, other, "--sheet", "0"],
        "saliency": [run.path, other],
        "fit": [other, "--out", run.path],
    }
    for command, arguments in commands.items():
        result = CliRunner().invoke(cli, [command, *map(str, arguments)])
        assert isinstance(result.exception, UserError), command
        assert "video_shapes was replaced: other rows in M1 (1)" in str(result.exception)
    assert not (tmp_path / "predicted.zarr").exists()


def test_a_film_that_is_missing_or_comes_later_falsifies_nothing_that_was_trained(store, run, tmp_path):
    """But a run that goes on would have other samples."""

    def no_second_film(group):
        group["video_shapes"][1] = np.nan

    less = open_dataset(_copy(store, tmp_path / "less.zarr", no_second_film))
    load_learner(run, less, CPU)
    with pytest.raises(UserError, match="video_shapes: rows joined or are gone in M2"):
        _start_again(run, less)
    early = fit_run(tmp_path / "less.zarr", tmp_path / "early", *SHORT, "train.steps=1")[0]
    load_learner(early, open_dataset(store), CPU)
    with pytest.raises(UserError, match="video_shapes: rows joined or are gone in M2"):
        _start_again(early, open_dataset(store))
    gap = open_dataset(_copy(store, tmp_path / "gap.zarr", _changed(_without_row)))
    with pytest.raises(UserError, match="video_shapes: rows joined or are gone in M1"):
        _start_again(run, gap)


def test_movies_of_another_data_set_are_others_whatever_their_name(store, run, tmp_path):
    def another(group):
        _changed(_other_row)(group)
        group["simdata_metadata"].attrs["catalog_name"] = "elsewhere"
        group["run_source"][0, 0] = json.dumps({"sha256": "f" * 64})

    load_learner(run, open_dataset(_copy(store, tmp_path / "other.zarr", another)), CPU)


def test_another_encoder_is_refused(store, run, tmp_path):
    def settings(group):
        group["video_shapes"].attrs["parameters"] = {"layer": 6}

    dataset = open_dataset(_copy(store, tmp_path / "other.zarr", settings))
    with pytest.raises(UserError, match="video_shapes is of another encoder"):
        load_learner(run, dataset, CPU)


def _joined(dataset, split):
    """A store with one more subject, in a set."""
    return replace(
        dataset,
        subjects=[*dataset.subjects, "s7"],
        subject_split=np.append(dataset.subject_split, np.int8(split)),
        complete=np.vstack([dataset.complete, [True, True]]),
        identity=dataset.identity
        | {"catalog_sha256": "1" * 64, "runs": 13, "subjects": dataset.identity["subjects"] | {"s7": "?"}},
        sources=dataset.sources | {"s7/M1": "7" * 64},
    )


@pytest.mark.parametrize(("split", "notes"), [(3, []), (2, [LEFT_OUT])])
def test_a_run_goes_on_when_subjects_joined_that_it_is_not_trained_on(store, tmp_path, run, split, notes):
    """To the same bits: a subject of validation is left out of it."""
    with stopping_at(2):
        fit_run(store, tmp_path / "run", *SHORT)
    dataset = _joined(open_dataset(store), split)
    resumed = FitRun.start(tmp_path / "run", run.config, dataset)
    assert resumed.notes == notes
    fit(dataset, resumed, CPU, Console(quiet=True))
    assert_equal(checkpoint.load(resumed.checkpoint), checkpoint.load(run.checkpoint))
    assert lines_of(resumed) == lines_of(run)
    assert resumed.seen_subjects == {"s1", "s2", "s3", "s4"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: _joined(d, 1), "training runs joined: s7/M1, s7/M2"),
        (lambda d: replace(d, complete=d.complete | True), "training runs joined: s3/M2"),
        (
            lambda d: replace(d, complete=d.complete & [[False, True]]),
            "training runs are gone.*: s1/M1, s2/M1",
        ),
        (
            lambda d: replace(d, sources=d.sources | {"s2/M1": "f" * 64}),
            "BOLD was converted again from other files: s2/M1",
        ),
        (
            lambda d: replace(d, subject_split=np.array([3, 1, 1, 2, 3, 3])),
            "training runs are gone, or in another set: s1/M1, s1/M2",
        ),
        (
            lambda d: replace(d, identity=d.identity | {"scenes": d.identity["scenes"] | {"M2": "x"}}),
            "scenes, or their sets, are others: M2",
        ),
        (lambda d: replace(d, identity=d.identity | {"cortex": "x"}), "cortex: other vertices"),
    ],
)
def test_data_of_training_that_changed_are_named(store, run, change, words):
    with pytest.raises(UserError, match=words):
        _start_again(run, change(open_dataset(store)))


def test_test_subjects_may_change_as_they_like(store, run):
    dataset = open_dataset(store)
    sources = dataset.sources | {"s5/M1": "f" * 64}
    assert _start_again(run, replace(dataset, sources=sources)).notes == []
    assert _start_again(run, replace(dataset, complete=dataset.complete & [[1]] * 4 + [[0]] * 2)).notes == []


def test_bold_that_was_replaced_is_refused_by_tests_too(store, run, tmp_path):
    def converted_again(group):
        group["run_source"][1, 0] = json.dumps({"sha256": "f" * 64})

    other = open_dataset(_copy(store, tmp_path / "other.zarr", converted_again))
    with pytest.raises(UserError, match="BOLD was converted again from other files: s2/M1"):
        load_learner(run, other, CPU)


def test_a_pretraining_knows_its_bold(store, tmp_path):
    dataset = open_dataset(store)
    small = [one for one in TINY if not one.startswith("projector")]
    config = resolve(load("sim-tiny", [*small, "train.steps=1"], kind=PretrainConfig), dataset)
    run = PretrainRun.start(tmp_path / "run", config, dataset)
    pretrain(dataset, run, CPU, Console(quiet=True))
    other = replace(dataset, sources=dataset.sources | {"s2/M1": "f" * 64})
    for use in (lambda: run.must_suit(other), lambda: _start_again(run, other)):
        with pytest.raises(UserError, match="BOLD was converted again from other files: s2/M1"):
            use()


def test_what_a_killed_start_left_is_no_hindrance(store, tmp_path):
    (tmp_path / "store.json").write_text('{"path"')
    (tmp_path / ".config.yaml.tmp").write_text("data")
    start_run(store, tmp_path)
    assert json.loads((tmp_path / "store.json").read_text())["bold"]["training"]["s1/M1"] == "11" * 32


def test_a_store_that_says_nothing_of_its_sources_is_taken_as_it_is(store, run):
    assert _start_again(run, replace(open_dataset(store), sources={})).notes == []
