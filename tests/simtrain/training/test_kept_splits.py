"""The splits that a run keeps: gone on with and tested by, whatever becomes of the store's own."""

import json
import shutil
import warnings

import numpy as np
import pytest
import yaml
import zarr
from click.testing import CliRunner
from training_runs import TINY, assert_equal, lines_of

import simtrain
from simdata.common.errors import UserError
from simtrain.cli.root import cli
from simtrain.data.dataset import open_dataset
from simtrain.data.windows import Windows
from simtrain.retrieval.evaluation import must_be_new
from simtrain.training import checkpoint
from simtrain.training.kept_store import SPLITS
from simtrain.training.run_folder import FitRun

OTHERS = {
    "subjects": {"train": ["s4", "s5"], "val": ["s6"], "test": ["s1"]},
    "scenes": {"clips": {"test": ["alpha"]}},
}
FEW = {"clips": 20, "draws": 2, "pool": 3, "device": "cpu", "save": False}


def fit(store, out, splits=None, steps=3):
    """Begin a run, or go on with the one in ``out``."""
    begun = (out / "config.yaml").exists()
    overrides = [*(() if begun else (*TINY, "train.schedule=constant")), f"train.steps={steps}"]
    config = None if begun else "demo"
    simtrain.fit(store, out, config, overrides=overrides, splits=splits, device="cpu", progress=False)
    return FitRun.open(out)


def held_out(run, store, splits=None, experiment=None):
    """Name -> (subjects, clips) of the experiments that `simtrain retrieve` would make."""
    dataset = run.divided(open_dataset(store), splits)
    split = "train" if experiment == "seen" else "test"
    found = Windows.of(dataset, run.config).experiments(experiment, run.config.data.lag, split)
    for name, windows in found.items():
        must_be_new(run, dataset, windows, name)
    return {
        name: (
            {dataset.subjects[subject] for subject in windows["subject"]},
            {dataset.segments[code] for code in dataset.segment[windows["movie"], windows["clip"]]},
        )
        for name, windows in found.items()
    }


def divided(store, path, subjects, scenes):
    """A copy whose own sets are others: lists of codes, as `simdata resplit` leaves the tables."""
    shutil.copytree(store, path, ignore=shutil.ignore_patterns("bold"))
    (path / "bold").symlink_to(store / "bold", target_is_directory=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        group = zarr.open_group(path, mode="r+", use_consolidated=False)
        group["subject_split"][:] = np.array(subjects, object)
        group["scene_split"][:] = np.where(group["scene_split"][:] > 0, scenes, 0)
        zarr.consolidate_metadata(path)
    return path


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    return fit(store, tmp_path_factory.mktemp("kept") / "run", OTHERS)


@pytest.fixture(scope="module")
def all_train(store, tmp_path_factory):
    """The store, with all subjects and scenes in training."""
    return divided(store, tmp_path_factory.mktemp("kept") / "all.zarr", ["train"] * 6, 1)


def test_a_run_is_trained_on_the_splits_and_keeps_them(run, store):
    assert run.stores[0].record["subjects"] == {
        **{"s1": "test", "s2": "none", "s3": "none"},
        **{"s4": "train", "s5": "train", "s6": "val"},
    }
    assert set(run.stores[0].record["bold"]["training"]) == {"s4/M1", "s4/M2", "s5/M1", "s5/M2"}
    assert yaml.safe_load((run.path / SPLITS).read_text()) == OTHERS
    assert run.seen_subjects == {"s4", "s5", "s6"}
    names = {name for name, of in run.stores[0].record["subjects"].items() if of != "none"}
    assert names == {"s1", "s4", "s5", "s6"}


def test_it_goes_on_with_them_whatever_the_store_says(run, store, all_train, tmp_path):
    straight = fit(store, tmp_path / "straight", OTHERS, steps=5)
    shutil.copytree(run.path, tmp_path / "run")
    resumed = fit(all_train, tmp_path / "run", steps=5)
    assert lines_of(resumed)[-1]["step"] == 5
    weights = [checkpoint.load(one.checkpoint)["learner"] for one in (straight, resumed)]
    assert_equal(*weights)


def test_other_splits_are_refused_as_other_data_are(run, store, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    with pytest.raises(UserError, match="was trained on other data") as error:
        fit(store, tmp_path / "run", {"subjects": {"test": ["s1"]}}, steps=5)
    assert "training runs joined: s2/M1, s2/M2, s3/M1" in str(error.value)
    with pytest.raises(UserError, match="scenes, or their sets, are others: M1, M2"):
        fit(store, tmp_path / "run", "halves", steps=5)
    assert yaml.safe_load((tmp_path / "run" / SPLITS).read_text()) == OTHERS


def test_splits_with_another_test_set_alone_are_followed_from_then_on(run, store, tmp_path, capsys):
    shutil.copytree(run.path, tmp_path / "run")
    other = {"subjects": {**OTHERS["subjects"], "test": ["s2"]}}
    simtrain.fit(store, tmp_path / "run", overrides=["train.steps=4"], splits=other, device="cpu")
    assert "other splits from now on" in capsys.readouterr().out
    assert FitRun.open(tmp_path / "run").stores[0].splits.subjects.test == ["s2"]
    assert FitRun.open(tmp_path / "run").stores[0].splits.scenes.clips == {"test": ["alpha"]}, (
        "the run's, not the store's"
    )


def test_a_run_on_a_stores_own_splits_keeps_those(store, all_train, tmp_path):
    own = fit(store, tmp_path / "run")
    assert own.stores[0].splits == open_dataset(store).splits
    of_its_own = held_out(own, store)
    assert list(of_its_own) == ["new-subjects", "new-scenes", "both"]
    assert held_out(own, all_train) == of_its_own
    (own.path / SPLITS).unlink()  # as runs of before
    assert held_out(own, store) == of_its_own
    with pytest.raises(
        UserError, match=r"no windows for new-subjects or .*: no subject with a run is in test"
    ):
        held_out(own, all_train)
    assert fit(store, own.path, steps=4).stores[0].splits is None, "it is as it was"


def test_a_stores_own_can_be_asked_for(run, store, all_train):
    with pytest.raises(UserError, match=r"new-subjects: .*was trained or validated on s5, s6$"):
        held_out(run, store, "store", "new-subjects")
    with pytest.raises(UserError, match=r"seen: .*run was not trained on s1, s2, s3$"):
        held_out(run, all_train, "store", "seen")
    assert held_out(run, store, None, "seen")["seen"][0] == {"s4", "s5"}


def test_tables_that_no_splits_give_are_followed_as_they_are(store, all_train, tmp_path):
    strange = divided(store, tmp_path / "strange.zarr", ["train", "test", "train", "train", "val", "test"], 1)
    run = fit(strange, tmp_path / "run")
    assert run.stores[0].splits is None
    assert run.stores[0].record["subjects"]["s2"] == "test"
    assert held_out(run, strange) == {"new-subjects": ({"s2", "s6"}, {"alpha", "beta", "gamma", "delta"})}


def test_tests_are_on_the_runs_sets_and_refuse_what_it_has_seen(run, store):
    trained_on = {"beta", "gamma", "delta"}
    assert held_out(run, store) == {
        "new-subjects": ({"s1"}, trained_on),
        "new-scenes": ({"s4", "s5"}, {"alpha"}),
        "both": ({"s1"}, {"alpha"}),
    }
    with pytest.raises(UserError, match=r"new-subjects: .*was trained or validated on s5, s6"):
        held_out(run, store, {"subjects": {"test": ["s1", "s5", "s6"]}})
    other_scenes = {"scenes": {"clips": {"test": ["gamma"]}}}
    with pytest.raises(UserError, match=r"new-scenes: .*other clips or sets of scenes in M2 than .*here"):
        held_out(run, store, other_scenes, "new-scenes")
    anywhere = {"new-subjects": ({"s1"}, {"alpha", *trained_on})}
    assert held_out(run, store, "whole-clips") == anywhere, "its subjects stay the run's"


def test_one_store_gives_each_experiment(store, tmp_path):
    first = fit(store, tmp_path / "first", "whole-clips")
    assert list(simtrain.retrieve(first.path, store, **FEW).results) == ["new-subjects"]
    with pytest.raises(UserError, match=r"new-scenes: .*may not be new"):
        held_out(first, store, "halves", "new-scenes")
    second = fit(store, tmp_path / "second", "halves")
    assert list(held_out(second, store)) == ["new-subjects", "new-scenes", "both"]


def test_all_commands_take_them(run, store, tmp_path):
    file = tmp_path / "others.yaml"
    file.write_text("subjects: {train: [s4, s5], val: [s6], test: [s2]}\nscenes: {}\n")

    def call(*arguments):
        result = CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    options = ["--splits", file, "--device", "cpu"]
    few = ["--experiment", "new-subjects", "--clips", 20, "--draws", 2, "--pool", 3]
    shutil.copytree(run.path, tmp_path / "run")
    call("retrieve", tmp_path / "run", store, *options, *few)
    written = json.loads((tmp_path / "run/retrieval.json").read_text())
    rows, used = written["tables"]["subjects"], written["splits"]
    assert (used["subjects"]["test"], used["scenes"]) == (["s2"], {})
    assert {row["subject"] for row in rows} == {"s2"}
    call("predict", tmp_path / "run", store, "--out", tmp_path / "p.zarr", *options)
    call("saliency", tmp_path / "run", store, "--windows", 1, "--steps", 1, *options)
    record = json.loads(next((tmp_path / "run/saliency").glob("*.json")).read_text())
    assert list(record["windows"]) == ["s2"] or "s2" in json.dumps(record)
    ridge = ["--kind", "ridge", "--ico", 0, "--config", "demo"]
    call("baseline", store, "--out", tmp_path / "b", *ridge, *options, *few)
    rows = json.loads((tmp_path / "b/ridge/retrieval.json").read_text())["tables"]["subjects"]
    assert {row["subject"] for row in rows} == {"s2"}
    small = [word for text in TINY for word in ("--set", text)]
    call("fit", store, "--out", tmp_path / "new", "--config", "demo", *small, *options)
    assert FitRun.open(tmp_path / "new").stores[0].splits.subjects.train == ["s4", "s5"]
    mae = ["--set", "model.ico=1", "--set", "model.dim=8", "--set", "model.depth=1", "--set", "train.steps=2"]
    mae += ["--set", "train.batch_size=8", "--set", "train.validation_samples=8"]
    call("pretrain", store, "--out", tmp_path / "pre", *mae, *options)
    assert (tmp_path / "pre" / SPLITS).is_file()
    call("reconstruct-maps", tmp_path / "pre", store, "--windows", 1, "--device", "cpu")
    assert not FitRun.open(tmp_path / "new").stores[0].splits.scenes.clips
    found = simtrain.batches(store, "test", splits=file, batch_size=8, ico=1)
    assert "s2" in {found.dataset.subjects[n] for n in found.samples["subject"]}
    with pytest.raises(UserError, match="no splits 'thirds': give the path"):
        call("fit", store, "--out", tmp_path / "none", "--splits", "thirds")


def test_subjects_that_the_store_does_not_have_are_told(store, tmp_path, capsys):
    lists = {"subjects": {"test": ["s1", "s8"], "val": ["s9"]}}
    options = {"overrides": [*TINY, "train.steps=1"], "splits": lists, "device": "cpu"}
    simtrain.fit(store, tmp_path / "run", "demo", **options)
    told = capsys.readouterr().out.replace("\n", " ")
    assert "splits.subjects.val has s9, which" in told
    assert "splits.subjects.test has s8, which" in told
