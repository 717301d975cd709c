"""The weights that are kept as the best by validation, and that tests of a run take."""

import json
import shutil

import pytest
import torch
import yaml
from command_line import call
from rich.console import Console
from training_runs import TINY, assert_equal, fit_run, lines_of

import simtrain
from simdata.common.errors import UserError
from simtrain.config.composition import load
from simtrain.config.schema import Config, PretrainConfig
from simtrain.data.dataset import open_dataset, resolve
from simtrain.training import checkpoint, pretraining
from simtrain.training.initial_weights import Initial
from simtrain.training.run_folder import FitRun, PretrainRun
from simtrain.training.step import Training
from simtrain.training.trained_model import load_learner
from simtrain.training.validation import Validation

CPU = torch.device("cpu")
OFTEN = ("train.steps=6", "train.validate_every=2", "train.checkpoint_every=3")
TEST = ["--experiment", "new-subjects", "--clips", 20, "--draws", 2, "--device", "cpu"]


@pytest.fixture(scope="module")
def best_at_4(store, tmp_path_factory):
    """A run of 6 steps whose validation says that step 4 is the best."""
    told = iter([0.1, 0.3, 0.2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Validation, "__call__", lambda self: {"val/loss": 1.0, "val/retrieval": next(told)})
        return fit_run(store, tmp_path_factory.mktemp("best") / "run", *OFTEN)[0]


def test_the_best_are_tested_and_the_last_if_they_are_asked_for(store, best_at_4):
    dataset = open_dataset(store)
    best, last = checkpoint.load(best_at_4.best), checkpoint.load(best_at_4.checkpoint)
    assert (best["step"], last["step"]) == (4, 6)
    for which, state in {"best": best, "last": last}.items():
        learner = load_learner(FitRun.open(best_at_4.path, which), dataset, CPU)
        assert_equal(dict(learner.state_dict()), dict(state["learner"]))


def test_every_test_says_which_weights_it_had(store, best_at_4, tmp_path):
    shown = call("retrieve", best_at_4.path, store, *TEST)
    assert "weights of step 4, the best by validation's retrieval" in " ".join(shown.split())
    found = json.loads((best_at_4.path / "retrieval.json").read_text())
    assert (found["weights"]["checkpoint"], found["weights"]["step"]) == ("best", 4)
    shown = call("retrieve", best_at_4.path, store, *TEST, "--checkpoint", "last")
    assert "weights of step 6, the last" in " ".join(shown.split())
    for which, step in {"best": 4, "last": 6}.items():
        out = tmp_path / f"{which}.zarr"
        predicted = simtrain.predict(best_at_4, store, out, subjects=["s5"], checkpoint=which, device="cpu")
        assert predicted.attrs["weights_step"] == step
        maps = {"windows": 1, "steps": 1, "save": False, "device": "cpu"}
        assert simtrain.saliency(best_at_4, store, checkpoint=which, **maps).record["weights_step"] == step
    with pytest.raises(UserError, match=r"checkpoint.*first.*best.*last"):
        simtrain.retrieve(best_at_4, store, checkpoint="first")


def test_training_starts_from_the_best_of_another_run(best_at_4):
    assert Initial.read(best_at_4.path).origin["step"] == 4
    assert Initial.read(best_at_4.checkpoint).origin["step"] == 6


def test_a_run_without_validation_has_only_the_last_and_says_so(store, tmp_path, monkeypatch):
    monkeypatch.setattr("simtrain.data.windows.validation", lambda found: found[:0])
    run, _ = fit_run(store, tmp_path / "run", "train.steps=2")
    assert not run.best.exists()
    shown = " ".join(call("retrieve", run.path, store, *TEST).split())
    assert "weights of step 2, the last: the run has kept no best ones" in shown


def test_a_run_that_was_killed_behind_its_best_goes_on_to_the_same_best(store, tmp_path, monkeypatch):
    straight, _ = fit_run(store, tmp_path / "straight", *OFTEN)
    update = Training.update

    def killed(self, batch):
        if self.step == 5:
            raise KeyboardInterrupt
        return update(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "update", killed)
        with pytest.raises(KeyboardInterrupt):
            fit_run(store, tmp_path / "run", *OFTEN)
    assert checkpoint.load(tmp_path / "run/checkpoint.pt")["step"] == 3
    run, _ = fit_run(store, tmp_path / "run", *OFTEN)
    assert_equal(checkpoint.load(run.checkpoint), checkpoint.load(straight.checkpoint))
    assert_equal(checkpoint.load(run.best), checkpoint.load(straight.best))
    assert lines_of(run) == lines_of(straight)


@pytest.mark.parametrize(("best_by", "step"), [("loss", 2), ("pairs", 4), ("retrieval", 6), (None, None)])
def test_the_best_are_those_by_what_is_asked_for(store, tmp_path, monkeypatch, best_by, step):
    names = ("val/loss", "val/fmri-video", "val/fmri-audio", "val/video-audio", "val/retrieval")
    told = iter([(1.0, 4.0, 4.0, 4.0, 0.1), (2.0, 5.0, 1.0, 1.0, 0.2), (3.0, 3.0, 3.0, 3.0, 0.3)])
    monkeypatch.setattr(Validation, "__call__", lambda self: dict(zip(names, next(told), strict=True)))
    by = "null" if best_by is None else best_by
    run, _ = fit_run(store, tmp_path / "run", *OFTEN, f"train.best_by={by}")
    assert (checkpoint.load(run.best)["step"] if run.best.exists() else None) == step


def test_pretraining_keeps_its_best_by_the_loss(store, tmp_path, monkeypatch):
    told = iter([2.0, 1.0, 3.0])
    monkeypatch.setattr(Validation, "__call__", lambda self: {"val/loss": next(told)})
    dataset, sizes = open_dataset(store), [one for one in TINY if not one.startswith("projector")]
    config = resolve(load("demo", [*sizes, *OFTEN], kind=PretrainConfig), dataset)
    run = PretrainRun.start(tmp_path / "run", config, dataset)
    pretraining.pretrain(dataset, run, CPU, Console(quiet=True))
    assert checkpoint.load(run.best)["step"] == 4
    assert Initial.read(run.path).origin["step"] == 4
    with pytest.raises(UserError, match=r"train\.best_by"):
        load("demo", ["train.best_by=retrieval"], kind=PretrainConfig)


@pytest.mark.parametrize(("patience", "best_by"), [(None, None), (3, "loss")])
def test_a_run_from_before_the_key_does_what_it_did(best_at_4, tmp_path, patience, best_by):
    run = shutil.copytree(best_at_4.path, tmp_path / "run")
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["train"]["best_by"]
    config["train"]["patience"] = patience
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert FitRun.open(run).config.train.best_by == best_by


def test_patience_without_a_criterion_is_refused():
    with pytest.raises(UserError, match="patience needs best_by"):
        load("demo", ["train.best_by=null", "train.patience=2"], kind=Config)
