"""Tests in the validation set: the same commands, in files of their own, and nothing of the test set."""

import json
import shutil

import pytest
from command_line import call
from training_runs import TINY

import simtrain
from simdata.common.errors import UserError
from simtrain.data.dataset import open_dataset
from simtrain.data.windows import Windows
from simtrain.retrieval.evaluation import must_be_new
from simtrain.training.run_folder import FitRun

SPLITS = {
    "subjects": {"val": ["s4"], "test": ["s5", "s6"]},
    "scenes": {"clips": {"val": ["gamma"], "test": ["beta", "delta"]}},
}
FEW = {"clips": 20, "draws": 2, "pool": 3, "device": "cpu"}
WORDS = ["--clips", 20, "--draws", 2, "--pool", 3, "--device", "cpu"]


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    """A run with subjects and scenes of validation; its best weights are not its last."""
    folder = tmp_path_factory.mktemp("validated") / "run"
    simtrain.fit(store, folder, "demo", overrides=TINY, splits=SPLITS, device="cpu", progress=False)
    return folder


@pytest.fixture(scope="module")
def both(run, store):
    """What the command prints of validation, after the test set was tested, and what that had left."""
    call("retrieve", run, store, *WORDS, "--experiment", "new-subjects")
    files = [run / "retrieval.json", *sorted((run / "retrieval").iterdir())]
    before = {path: path.read_bytes() for path in files}
    return call("retrieve", run, store, *WORDS, "--split", "val"), before


def test_validation_has_files_of_its_own(run, both):
    shown, before = both
    assert {path: path.read_bytes() for path in before} == before
    written = json.loads((run / "retrieval-val.json").read_text())
    assert written["protocol"]["split"] == "val"
    assert list(written["experiments"]) == ["new-subjects", "new-scenes", "both"]
    assert _labels(written, "subject") == {"new-subjects": {"s4"}, "new-scenes": {"s1", "s2"}, "both": {"s4"}}
    assert _labels(written, "clip") == {"new-subjects": {"alpha"}, "new-scenes": {"gamma"}, "both": {"gamma"}}
    assert (run / "retrieval-val" / "windows.csv").is_file()
    shown = " ".join(shown.split())
    assert "Retrieval (ours, but pool 3, clips 20 and draws 2): validation set, pool of 3" in shown
    assert "the best by validation's retrieval, and so chosen by this set" in shown
    assert json.loads((run / "retrieval.json").read_text())["protocol"]["split"] == "test"


def _labels(written, column):
    """Experiment -> what is in a column of the table by it."""
    rows = written["tables"][f"{column}s"]
    return {
        name: {row[column] for row in rows if row["experiment"] == name} for name in written["experiments"]
    }


def test_the_last_weights_were_not_chosen(run, store, tmp_path):
    asked = {**FEW, "experiment": "new-subjects", "checkpoint": "last", "split": "val", "out": tmp_path}
    assert "chosen" not in str(simtrain.retrieve(run, store, **asked).weights)
    assert not list(tmp_path.glob("retrieval.json"))


def test_lags_are_of_validation_unless_told_otherwise(run, store, both, tmp_path):
    shown = call("retrieve", run, store, *WORDS, "--lags", "5:6", "--out", tmp_path)
    assert "Top-1 % by lag, validation set" in shown
    assert {path.name for path in tmp_path.iterdir()} == {"retrieval-val.json", "retrieval-val"}
    lags = json.loads((tmp_path / "retrieval-val.json").read_text())["tables"]["lags"]
    assert {row["experiment"] for row in lags} == {"new-subjects", "new-scenes", "both"}
    none = {"subjects": {"test": ["s5"]}, "scenes": {}}
    with pytest.raises(UserError, match="no scene is in val; give other `splits`, or the store its own by"):
        simtrain.retrieve(run, store, lags=[6], splits=none, **FEW)


def test_two_tests_in_validation_are_compared_by_asking_for_it(run, store, both, tmp_path):
    shutil.copytree(run, tmp_path / "copy")
    found = simtrain.compare(run, tmp_path / "copy", split="val")
    assert found.protocol["split"] == "val"
    assert set(found.metrics.experiment) == {"new-subjects", "new-scenes", "both"}
    assert set(simtrain.compare(run, tmp_path / "copy").metrics.experiment) == {"new-subjects"}
    assert "in retrieval (ours, but pool 3, clips 20 and draws 2), validation set" in " ".join(
        call("compare", run, tmp_path / "copy", "--split", "val").split()
    )
    here = simtrain.retrieve(run, store, split="val", save=False, **FEW)
    assert simtrain.compare(here, run).protocol["split"] == "val", "as that in memory"
    with pytest.raises(UserError, match=r"`split` test: <Retrieval .* is of val"):
        simtrain.compare(here, run, split="test")
    shutil.rmtree(tmp_path / "copy" / "retrieval-val")
    with pytest.raises(UserError, match=r"has no retrieval-val/windows\.csv"):
        simtrain.compare(run, tmp_path / "copy", split="val")


def test_a_test_of_before_there_was_a_choice_is_of_the_test_set(run, both, tmp_path):
    shutil.copytree(run, tmp_path / "old")
    content = json.loads((run / "retrieval.json").read_text())
    del content["protocol"]["split"]
    (tmp_path / "old" / "retrieval.json").write_text(json.dumps(content))
    assert (simtrain.compare(run, tmp_path / "old").metrics.difference == 0).all()


def test_other_tests_have_folders_of_their_own_too(run, store, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    options = ["--experiment", "new-subjects", "--split", "val", "--device", "cpu"]
    assert "reconstruction-val" in call(
        "reconstruct", tmp_path / "run", store, *options, "--gallery", "all", "--every", 2, "--sheet", 0
    )
    written = json.loads((tmp_path / "run/reconstruction-val/reconstruction.json").read_text())
    assert written["settings"]["split"] == "val"
    assert {row["subject"] for row in written["tables"]["subjects"]} == {"s4"}
    assert "saliency-val" in call(
        "saliency", tmp_path / "run", store, *options, "--method", "rollout", "--windows", 2
    )
    (record,) = (tmp_path / "run/saliency-val").glob("*.json")
    assert json.loads(record.read_text())["selection"]["split"] == "val"
    assert not (tmp_path / "run/reconstruction").exists()
    assert not (tmp_path / "run/saliency").exists()
    with pytest.raises(UserError, match="`split` val with `experiment` any: that is of all sets"):
        simtrain.saliency(run, store, experiment="any", split="val")


def test_a_baseline_is_tested_in_validation_too(store, tmp_path):
    asked = {**FEW, "config": "demo", "splits": SPLITS, "split": "val"}
    asked |= {"components": 2, "samples": 40, "overrides": ["train.steps=2"]}
    found = simtrain.baseline(store, tmp_path, "pca", **asked)["pca"]
    assert set(found.metrics.experiment) <= {"new-subjects", "new-scenes", "both"}
    assert {path.name for path in (tmp_path / "pca").glob("retrieval*")} == {
        "retrieval-val",
        "retrieval-val.json",
    }


def test_encoding_models_have_files_of_their_own_too(store, tmp_path):
    asked = {"splits": {"scenes": {"clips": {"val": ["gamma"], "test": ["delta"]}}}, "subjects": ["s5"]}
    for split in ("val", "test"):
        simtrain.encode(store, tmp_path, split=split, delays=(0, 1), device="cpu", **asked)
    stems = {path.name.partition(".")[0] for path in tmp_path.glob("*.json")}
    assert stems == {"encoding", "encoding-val"}


def test_a_set_that_makes_no_sense_is_refused(run, store):
    with pytest.raises(UserError, match="split: 'valid' is not one of test, val"):
        simtrain.retrieve(run, store, split="valid", **FEW)
    with pytest.raises(UserError, match="`split` val with `experiment` seen: that is of the training set"):
        simtrain.retrieve(run, store, experiment="seen", split="val", **FEW)


def test_whoever_was_trained_on_is_no_validation(run, store, tmp_path):
    """Neither of this run nor of one whose weights it began with; whom it validated on is."""
    trained = FitRun.open(run)
    others = {"subjects": {"val": ["s2", "s4"]}}
    with pytest.raises(UserError, match=r"new-subjects: .* may have been trained on s2$"):
        simtrain.retrieve(run, store, split="val", splits=others, **FEW)
    other_scenes = {"scenes": {"clips": {"val": ["alpha"]}}}
    with pytest.raises(UserError, match=r"new-scenes: .*its val scenes may not be new"):
        simtrain.retrieve(run, store, split="val", experiment="new-scenes", splits=other_scenes, **FEW)
    assert trained.trained_subjects == {"s1", "s2", "s3"}
    short = [*TINY, f"model.init={run}", "train.steps=1"]
    simtrain.fit(store, tmp_path / "later", "demo", overrides=short, splits=SPLITS, device="cpu")
    later = FitRun.open(tmp_path / "later")
    assert later.trained_subjects == {"s1", "s2", "s3"}
    _must_be_new(later, store)
    record = json.loads((later.path / "initial.json").read_text())
    exposure = record["origin"].pop("exposures")[0][0]
    # As records were before they told data sets apart, and whom weights were trained on.
    record["origin"] |= {"seen_subjects": exposure["seen"], "seen_scenes": exposure["scenes"]}
    (later.path / "initial.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="may have been trained on s4"):
        _must_be_new(later, store)


def _must_be_new(run, store):
    dataset = run.divided(open_dataset(store))
    windows = Windows.of(dataset, run.config).experiment("new-subjects", 6, "val")
    must_be_new(run, dataset, windows, "new-subjects", "val")
