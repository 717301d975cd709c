"""What may change in the configuration of a run that goes on."""

import io
import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from training_runs import fit_run, lines_of, start_run, stopping_at

from simdata.common.errors import UserError
from simtrain.cli.root import cli
from simtrain.training import checkpoint
from simtrain.training import loop as fitting
from simtrain.training.run_folder import FitRun
from simtrain.training.schedule import learning_rate

SHORT = ["train.steps=4", "train.validate_every=2", "train.checkpoint_every=2", "model.dropout=0"]
HALF = [*SHORT, "train.steps=2"]


@pytest.fixture(scope="module")
def straight(store, tmp_path_factory):
    return fit_run(store, tmp_path_factory.mktemp("resuming") / "straight", *SHORT)[0]


@pytest.fixture(scope="module")
def two_steps(store, tmp_path_factory):
    return fit_run(store, tmp_path_factory.mktemp("resuming") / "half", *HALF)[0]


@pytest.fixture
def half(two_steps, tmp_path):
    return FitRun.open(shutil.copytree(two_steps.path, tmp_path / "run"))


def test_what_does_not_change_the_result_may_change(store, half):
    free = ["train.log_every=2", "train.checkpoint_every=7", "train.accumulate=2"]
    run, _ = fit_run(store, half.path, *SHORT, *free, "model.checkpointing=true")
    assert run.config == FitRun.open(half.path).config
    assert (run.config.train.log_every, run.config.train.accumulate) == (2, 2)
    assert [line["step"] for line in lines_of(run)] == [1, 2, 2, 4, 4]
    (entry,) = json.loads((half.path / "history.json").read_text())
    assert entry["step"] == 2
    assert entry["changed"]["train.log_every"] == [1, 2]
    assert entry["changed"]["train.steps"] == [2, 4]
    assert entry["software"]["torch"]


def test_the_same_weights_come_of_the_same_steps_in_parts(store, tmp_path, straight):
    with stopping_at(2):
        fit_run(store, tmp_path / "run", *SHORT)
    run, _ = fit_run(store, tmp_path / "run", *SHORT, "train.accumulate=2", "model.checkpointing=true")
    learner = checkpoint.load(run.checkpoint)["learner"]
    for name, values in checkpoint.load(straight.checkpoint)["learner"].items():
        torch.testing.assert_close(learner[name], values, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize(("overrides", "said"), [([], False), (["model.dropout=0.1"], True)])
def test_dropout_in_parts_is_said_to_be_drawn_otherwise(store, tmp_path, overrides, said):
    dataset, run = start_run(
        store, tmp_path / "run", *SHORT, "train.accumulate=2", "train.steps=1", *overrides
    )
    console = Console(file=io.StringIO())
    fitting.fit(dataset, run, torch.device("cpu"), console)
    assert ("every process and part of a batch draws its own" in console.file.getvalue()) == said


def test_more_steps_go_on_with_the_rate_of_a_longer_run(store, half):
    run, _ = fit_run(store, half.path, *SHORT)
    assert any("the learning rate goes on as in a run of 4 steps" in note for note in run.notes)
    rates = [line["train/learning_rate"] for line in lines_of(run) if "train/loss" in line]
    assert rates[2:] == [learning_rate(run.config.train, 3), learning_rate(run.config.train, 4)]
    assert checkpoint.load(run.checkpoint)["step"] == 4


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.seed=1", r"train\.seed: 0 != 1"),
        ("train.amp=bf16", r"train\.amp: auto != bf16"),
        ("train.batch_size=16", r"train\.batch_size: 8 != 16"),
        ("train.patience=3", r"train\.patience: None != 3"),
        ("train.steps=1", r"train\.steps: 1 are asked for, but .* has done 2"),
    ],
)
def test_what_would_be_another_run_is_refused_with_both_values(store, half, override, words):
    with pytest.raises(UserError, match=words):
        fit_run(store, half.path, *HALF, override)
    assert FitRun.open(half.path).config == half.config
    assert not (half.path / "history.json").exists()


def test_validations_that_decide_what_is_tested_are_not_changed(store, half):
    with pytest.raises(UserError, match=r"validate_every: 2 != 1 \(validations decide which weights are the"):
        fit_run(store, half.path, *HALF, "train.validate_every=1")


def test_validations_that_decide_nothing_may_be_changed(store, tmp_path):
    settings = [*HALF, "train.best_by=null"]
    fit_run(store, tmp_path / "run", *settings)
    run, _ = fit_run(store, tmp_path / "run", *settings, "train.steps=4", "train.validate_every=1")
    assert [line["step"] for line in lines_of(run) if "val/loss" in line] == [2, 3, 4]


def test_a_finished_run_says_so_and_reads_no_bold(store, half, monkeypatch):
    def none(*_):
        raise AssertionError("read BOLD")

    monkeypatch.setattr(fitting, "open_feed", none)
    result = CliRunner().invoke(cli, ["fit", str(store), "--out", str(half.path)])
    assert result.exit_code == 0, result.output
    assert "finished: all 2 steps are done" in result.output
    assert f"simtrain retrieve {half.path}" in result.output


def test_set_alone_changes_the_runs_own_configuration(store, half):
    result = CliRunner().invoke(cli, ["fit", str(store), "--out", str(half.path), "--set", "train.steps=3"])
    assert result.exit_code == 0, result.output
    assert "train.steps: 2 -> 3 from step 2 on" in result.output
    assert "going on from step 2 of 3" in result.output
    assert checkpoint.load(half.checkpoint)["step"] == 3
