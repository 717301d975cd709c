"""The options of training together: averaged weights, parts, jitter, early stopping, compilation."""

import os
import signal

import pytest
import torch
from rich.console import Console
from training_runs import TINY, assert_equal, fit_run, lines_of, stopping_at

from simdata.common.errors import UserError
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.training import checkpoint
from simtrain.training.contrastive import ContrastiveTraining
from simtrain.training.loop import fit
from simtrain.training.run_folder import FitRun
from simtrain.training.step import Training
from simtrain.training.trained_model import load_learner
from simtrain.training.validation import Validation

CPU = torch.device("cpu")
MANY = [
    *("train.steps=4", "train.validate_every=2", "train.validation_samples=8", "train.ema=0.9"),
    *("train.accumulate=2", "train.patience=5", "data.lag_jitter=1", "loss.kind=siglip"),
    *("model.temporal=concat", "model.checkpointing=true", "loss.overlaps=negatives"),
    *("model.depth=2", "model.drop_path=0.3", "loss.modality_dropout=0.3", "projector.stimulus_dropout=0.2"),
    *("train.balance=subjects+clips", "train.beta2=0.95"),
    *("train.schedule=step", "train.step_every=2", "train.clip_norm=null"),
]


@pytest.fixture(scope="module")
def straight(store, tmp_path_factory):
    return fit_run(store, tmp_path_factory.mktemp("options") / "straight", *MANY)[0]


def test_a_run_with_all_options_goes_on_bit_for_bit(store, tmp_path, straight, monkeypatch):
    update = Training.update

    def interrupted(self, batch):
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "update", interrupted)
        assert fit_run(store, tmp_path / "run", *MANY)[1] == signal.SIGINT
    run, _ = fit_run(store, tmp_path / "run", *MANY)
    assert_equal(checkpoint.load(run.checkpoint), checkpoint.load(straight.checkpoint))
    assert_equal(checkpoint.load(run.path / "best.pt"), checkpoint.load(straight.path / "best.pt"))
    assert lines_of(run) == lines_of(straight)


def test_validation_and_tests_use_the_averaged_weights(store, straight):
    state = checkpoint.load(straight.path / "best.pt")
    learner = load_learner(straight, open_dataset(store), CPU)
    weights = dict(learner.named_parameters())
    assert state["average"].keys() == weights.keys()
    for name, average in state["average"].items():
        assert torch.equal(weights[name], average)
        assert not torch.equal(average, state["learner"][name]) or not average.any()


def test_dropout_draws_the_same_in_both_passes_over_a_part(store, tmp_path, monkeypatch):
    embed, seen = ContrastiveTraining.embed, []

    def recorded(self, batch):
        embeddings = embed(self, batch)
        if self.learner.training:
            seen.append(embeddings["fmri"].detach().clone())
        return embeddings

    monkeypatch.setattr(ContrastiveTraining, "embed", recorded)
    fit_run(store, tmp_path / "run", "train.steps=1", "train.accumulate=2", "model.dropout=0.5")
    assert len(seen) == 4
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])


def test_parts_change_nothing_but_rounding(store, tmp_path):
    settings = ["train.steps=2", "train.validate_every=2", "model.dropout=0", "model.temporal=average"]
    settings += ["model.depth=2", "model.drop_path=0.3", "loss.modality_dropout=0.3"]
    settings += ["projector.stimulus_dropout=0.2", "train.balance=subjects"]
    one, _ = fit_run(store, tmp_path / "one", *settings)
    other, _ = fit_run(store, tmp_path / "other", *settings, "train.accumulate=4")
    for line, expected in zip(lines_of(other), lines_of(one), strict=True):
        assert line == pytest.approx(expected, rel=1e-4)


def test_training_ends_when_validation_has_ceased_to_improve(store, tmp_path, monkeypatch):
    losses = iter([3.0, 2.0, 2.5, 2.0, 9.0])
    monkeypatch.setattr(Validation, "__call__", lambda self: {"val/loss": next(losses)})
    settings = ("train.validate_every=1", "train.patience=2", "train.best_by=loss")
    run, stopped = fit_run(store, tmp_path / "run", *settings)
    assert stopped is None
    assert checkpoint.load(run.checkpoint)["step"] == 4
    assert checkpoint.load_tested(run.tested)["step"] == 2
    fit_run(store, tmp_path / "run", *settings)
    assert checkpoint.load(run.checkpoint)["step"] == 4


@pytest.mark.parametrize("setting", ["train.patience=2", "train.schedule=plateau"])
def test_what_validation_decides_needs_something_to_judge_by(store, tmp_path, monkeypatch, setting):
    monkeypatch.setattr("simtrain.data.windows.validation", lambda found: found[:0])
    with pytest.raises(UserError, match=r"train\.(patience|schedule plateau): .* no validation samples"):
        fit_run(store, tmp_path / "run", setting)


def test_the_rate_falls_where_validation_does_not_improve_and_goes_on_to_the_bit(
    store, tmp_path, monkeypatch
):
    objectives = [0.0, 1.0, 2.0, 3.0, -1.0, 0.0, 0.0, 0.0]

    def told(self):
        return {"val/loss": objectives[self._training.step - 1]}

    monkeypatch.setattr(Validation, "__call__", told)
    settings = ["train.schedule=plateau", "train.plateau_patience=1", "train.plateau_factor=0.5"]
    settings += ["train.steps=8", "train.warmup=0", "train.validate_every=1", "train.best_by=loss"]
    straight, _ = fit_run(store, tmp_path / "straight", *settings)
    with stopping_at(4):
        fit_run(store, tmp_path / "run", *settings)
    run, _ = fit_run(store, tmp_path / "run", *settings)
    rates = [line["train/learning_rate"] for line in lines_of(run) if "train/loss" in line]
    assert [rate / rates[0] for rate in rates] == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]
    assert_equal(checkpoint.load(run.checkpoint), checkpoint.load(straight.checkpoint))
    assert lines_of(run) == lines_of(straight)


def test_a_compiled_run_has_the_same_weights_by_name(store, tmp_path, monkeypatch):
    """Compiled with a backend that only looks at the graph: building code would take a minute."""
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
    run, _ = fit_run(store, tmp_path / "run", "train.steps=1", "train.compile=true", "model.depth=2")
    assert compiled == ["TransformerBlock", "TransformerBlock"]
    load_learner(run, open_dataset(store), CPU)


def test_a_jitter_larger_than_the_lag_is_refused(store, tmp_path):
    dataset = open_dataset(store)
    config = resolve(load("demo", [*TINY, "data.lag_jitter=7"]), dataset)
    with pytest.raises(UserError, match=r"data\.lag_jitter: 7 s is more than the lag of 6 s"):
        fit(dataset, FitRun.start(tmp_path / "run", config, dataset), CPU, Console(quiet=True))
