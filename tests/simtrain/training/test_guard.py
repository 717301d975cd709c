"""A training that ceases to be finite ends before anything of it is saved, and goes on from what was."""

import os
import shutil
import signal

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from command_line import sets
from processes import join
from rich.console import Console
from torch import multiprocessing
from training_runs import TINY, assert_equal, fit_run, lines_of

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.cli.root import cli, main
from simtrain.common import distributed
from simtrain.common.finite import unsound
from simtrain.config.composition import load
from simtrain.config.schema import PretrainConfig
from simtrain.data.dataset import open_dataset, resolve
from simtrain.models.input import FramePatches
from simtrain.training import checkpoint, pretraining
from simtrain.training import loop as fitting
from simtrain.training.contrastive import ContrastiveTraining
from simtrain.training.guard import SKIPPED_IN_A_ROW, Diverged, Guard
from simtrain.training.run_folder import FitRun
from simtrain.training.step import Training
from simtrain.training.trained_model import load_learner

CPU = torch.device("cpu")
RARELY = ("train.log_every=50", "train.validate_every=50", "train.checkpoint_every=3", "train.steps=8")
SAVED = 6  # the last checkpoint before step 7
STEP = 7


@pytest.fixture(scope="module")
def straight(store, tmp_path_factory):
    return fit_run(store, tmp_path_factory.mktemp("guard") / "straight", *RARELY)[0]


@pytest.fixture(scope="module")
def stopped(store, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        _at(patch, STEP - 1, lambda self: os.kill(os.getpid(), signal.SIGTERM))
        run, _ = fit_run(store, tmp_path_factory.mktemp("guard") / "stopped", *RARELY)
    return run


@pytest.fixture
def begun(stopped, tmp_path):
    """A run that was stopped at step 6."""
    shutil.copytree(stopped.path, tmp_path / "run")
    return FitRun.open(tmp_path / "run")


def _at(patch, step, action, before=True):
    """Do something with the training at an update, before or behind it."""
    update = Training.update

    def changed(self, batch):
        if before and self.step == step - 1:
            action(self)
        losses = update(self, batch)
        if not before and self.step == step:
            action(self)
        return losses

    patch.setattr(Training, "update", changed)


def _spoil(part, value):
    """Give one weight of a part of the model a value."""

    def spoil(training):
        parameter = next(p for name, p in training.learner.named_parameters() if part in name)
        parameter.data.view(-1)[-1] = value

    return spoil


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("loss.kind=siglip", "train.ema=0.9", "train.patience=2"),
        ("loss.kind=infonce_fixed", "train.accumulate=2", "data.lag_jitter=1"),
        ("loss.queue=12", "train.amp=bf16"),
        ("train.learning_rate=1e30", "train.checkpoint_every=1"),
    ],
)
def test_a_rate_that_is_too_high_leaves_no_checkpoint_of_nothing(store, tmp_path, settings):
    with pytest.raises(UserError, match=r"step \d+ .* at a learning rate of .*lower train\.learning_rate"):
        fit_run(store, tmp_path / "run", *RARELY, "train.learning_rate=1e8", *settings)
    for file in (tmp_path / "run").glob("*.pt"):
        assert not unsound(checkpoint.load(file))


def test_it_goes_on_from_the_last_good_checkpoint_to_the_same_end(store, straight, begun, monkeypatch):
    kept = begun.checkpoint.read_bytes()
    with monkeypatch.context() as patch:
        _at(patch, STEP, _spoil("sim.encoder.blocks", torch.nan))
        with pytest.raises(UserError, match=rf"step {STEP} .*as it was at step {SAVED}") as caught:
            fit_run(store, begun.path, *RARELY)
    assert begun.checkpoint.read_bytes() == kept
    assert "\n" not in str(caught.value)
    assert not lines_of(begun)
    fit_run(store, begun.path, *RARELY)
    assert_equal(checkpoint.load(begun.checkpoint), checkpoint.load(straight.checkpoint))


@pytest.mark.parametrize(
    "spoil",
    [
        _spoil("sim.encoder.blocks", torch.inf),
        _spoil("log_scale", -1e8),
        _spoil("sim.projectors.video.project.weight", 1e19),
        lambda training: [p.data.mul_(1e17) for p in training.learner.sim.projectors.video.parameters()],
        lambda training: next(iter(training.optimizer.state.values()))["exp_avg_sq"].fill_(torch.inf),
        lambda training: training.average._mean["sim.encoder.class_token"].fill_(torch.nan),
        lambda training: training.average._mean["sim.projectors.fmri.norm.weight"].zero_(),
        lambda training: training.learner.queue.video.fill_(torch.nan),
        lambda training: os.kill(os.getpid(), signal.SIGTERM) or _spoil("blocks", torch.nan)(training),
    ],
    ids=[
        *("weight", "temperature", "too large", "finite, but what they give is not", "optimiser"),
        *("average", "average that collapses", "queue", "SIGTERM"),
    ],
)
def test_what_an_update_leaves_is_looked_at_before_it_is_saved(store, tmp_path, monkeypatch, spoil):
    """Though the loss was finite, and no later step has shown it."""
    settings = (*RARELY, "train.ema=0.9", "loss.queue=12", "train.steps=4", "train.checkpoint_every=2")
    _at(monkeypatch, 4, spoil, before=False)
    with pytest.raises(UserError, match=r"step 4 .*as it was at step 2"):
        fit_run(store, tmp_path / "run", *settings)
    assert checkpoint.load(tmp_path / "run/checkpoint.pt")["step"] == 2


def test_gradients_alone_stop_it(store, tmp_path, monkeypatch):
    gradients = ContrastiveTraining.gradients

    def broken(self, batch):
        losses = gradients(self, batch)
        if self.step == 3:
            self.learner.sim.encoder.norm.bias.grad[0] = torch.nan
        return losses

    monkeypatch.setattr(ContrastiveTraining, "gradients", broken)
    with pytest.raises(UserError, match=r"step 4 is not finite \(loss \d.*the norm of the gradients nan\)"):
        fit_run(store, tmp_path / "run", *RARELY)


def test_validation_that_is_not_finite_is_never_the_best(store, tmp_path, monkeypatch):
    settings = (*RARELY, "train.validate_every=2", "train.patience=3")
    scores = ContrastiveTraining.scores

    def broken(self, batch):
        found = scores(self, batch)
        return found | {"loss": found["loss"] * torch.nan} if self.step == 4 else found

    monkeypatch.setattr(ContrastiveTraining, "scores", broken)
    with pytest.raises(UserError, match=r"validation behind step 4 is not finite \(loss\).*at step 3"):
        fit_run(store, tmp_path / "run", *settings)
    assert checkpoint.load(tmp_path / "run/best.pt")["step"] == 2
    assert [line["step"] for line in lines_of(FitRun.open(tmp_path / "run"))] == [2]


def test_a_model_that_collapses_is_stopped_by_validation(store, tmp_path, monkeypatch):
    def collapse(training):
        training.learner.sim.encoder.embed.weight.data.zero_()

    _at(monkeypatch, 4, collapse, before=False)
    with pytest.raises(UserError, match=r"validation behind step 4 is the same fmri embedding for all"):
        fit_run(store, tmp_path / "run", *RARELY, "train.validate_every=4")


def test_a_checkpoint_that_is_not_finite_is_refused_by_fit_too(store, begun):
    state = checkpoint.load(begun.checkpoint)
    state["learner"]["sim.projectors.audio.norm.bias"][1] = torch.nan
    torch.save(state, begun.checkpoint)
    with pytest.raises(
        UserError, match=r"checkpoint\.pt: learner\.sim\.projectors\.audio\.norm\.bias is not"
    ):
        fit_run(store, begun.path, *RARELY)


@pytest.mark.parametrize("value", [torch.nan, 1e30])
def test_training_does_not_start_from_weights_that_are_not_finite(store, straight, tmp_path, value):
    state = checkpoint.load(straight.checkpoint)
    state["learner"]["sim.encoder.norm.weight"][0] = value
    torch.save(state, tmp_path / "broken.pt")
    arguments = ["fit", store, "--out", tmp_path / "run", "--config", "demo", "--device", "cpu"]
    settings = sets([*TINY, f"model.init={tmp_path / 'broken.pt'}"])
    result = CliRunner().invoke(cli, [*map(str, arguments), *settings])
    assert isinstance(result.exception, UserError)
    assert "model.init" in str(result.exception)
    assert "norm.weight is not finite" in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_pretraining_is_guarded_too(store, tmp_path, monkeypatch):
    dataset = open_dataset(store)
    settings = [*TINY[:4], "mae.decoder_dim=8", "mae.decoder_depth=1", "mae.decoder_heads=1", *RARELY]
    config = resolve(load("sim-tiny", [*settings, "train.batch_size=8"], kind=PretrainConfig), dataset)
    run = FitRun.start(tmp_path / "run", config, dataset)
    _at(monkeypatch, 5, _spoil("mae.", torch.nan))
    with pytest.raises(UserError, match=r"step 5 is not finite \(loss nan.*at step 3"):
        pretraining.pretrain(dataset, run, CPU, Console(quiet=True))
    assert checkpoint.load(run.checkpoint)["step"] == 3


def test_broken_bold_is_named_instead_of_the_rate(store, tmp_path, monkeypatch):
    """The frames of a run are not finite: whatever of a store makes them so."""
    forward, index = FramePatches.forward, np.zeros((58, 4), int)
    index[:, 0], index[:, 2] = 1, np.arange(58)  # windows of s2
    marked = torch.from_numpy(BoldReader(store).read(index, 3).astype(np.float32).sum(axis=(1, 2)))

    def broken(self, stored, *others):
        patches = forward(self, stored, *others)
        bad = torch.isin(stored.float().sum(dim=(1, 2)), marked)
        return torch.where(bad[:, None, None], torch.nan, patches)

    monkeypatch.setattr(FramePatches, "forward", broken)
    with pytest.raises(UserError, match="the BOLD of s2 in M1 is not finite: build"):
        fit_run(store, tmp_path / "run", "train.batch_size=64", *RARELY[:2])


def _scaled():
    return Guard(CPU, torch.amp.GradScaler("cpu", init_scale=2.0**16))


def _seen(guard, step, loss, norm):
    guard.see(step, 1e-3, {"loss": torch.tensor(loss)}, torch.tensor(norm), np.zeros(1))


def test_steps_that_loss_scaling_skips_are_counted_and_bounded():
    guard = _scaled()
    for step in range(1, SKIPPED_IN_A_ROW):
        _seen(guard, step, 1.0, torch.inf)
        guard.check()
    _seen(guard, SKIPPED_IN_A_ROW, 1.0, 1.0)
    guard.check()
    assert guard.readings() == {"skipped": SKIPPED_IN_A_ROW - 1}
    other = _scaled()
    other.load_state_dict(guard.state_dict())
    for step in range(SKIPPED_IN_A_ROW):
        other.check()
        _seen(other, step + 100, 1.0, torch.nan)
    with pytest.raises(Diverged, match=f"last of {SKIPPED_IN_A_ROW} in a row that were skipped"):
        other.check()
    third = _scaled()
    _seen(third, 1, torch.nan, torch.nan)
    with pytest.raises(Diverged, match="step 1 is not finite"):
        third.check()


def test_a_scale_under_1_ends_training():
    guard = Guard(CPU, torch.amp.GradScaler("cpu", init_scale=0.5))
    _seen(guard, 1, 1.0, torch.inf)
    with pytest.raises(Diverged, match=r"the loss scaled by 0\.5"):
        guard.check()


def test_fp16_skips_what_overflows_and_goes_on(store, tmp_path, monkeypatch):
    """With the scaler of a CPU, which autocast serves as it does a GPU."""
    monkeypatch.setattr("simtrain.training.step.mixed_precision", lambda amp, device: torch.float16)
    made = torch.amp.GradScaler
    monkeypatch.setattr(
        torch.amp, "GradScaler", lambda *args, **kwargs: made(*args, init_scale=2.0**28, **kwargs)
    )
    settings = ("train.steps=12", "train.checkpoint_every=50", "train.validate_every=50")
    run, _ = fit_run(store, tmp_path / "run", *settings)
    skipped = [line["train/skipped"] for line in lines_of(run) if "train/skipped" in line]
    assert 0 < skipped[-1] < SKIPPED_IN_A_ROW
    assert skipped == sorted(skipped)
    assert not unsound(checkpoint.load(run.checkpoint))
    load_learner(run, open_dataset(store), CPU)


def test_a_gpu_is_asked_every_few_steps_and_tells_of_the_first_bad_one():
    guard = Guard(CPU, torch.amp.GradScaler("cpu", enabled=False))
    guard._every = 8
    guard._recent = type(guard._recent)(maxlen=8)
    for step in range(1, 8):
        _seen(guard, step, 1.0 if step < 5 else torch.nan, float(step))
        assert not guard.due
    _seen(guard, 8, 2.0, 1.0)
    assert guard.due
    with pytest.raises(Diverged, match=r"step 5 is not finite \(loss nan, the norm of the gradients 5\)"):
        guard.check()


def test_two_processes_stop_together_when_one_has_nan(store, tmp_path):
    multiprocessing.spawn(_train, args=(tmp_path, store), nprocs=2)


def _train(rank, folder, store):
    join(rank, folder)
    dataset, update = open_dataset(store), Training.update

    def broken(self, batch):
        if self.step == 4 and rank == 1:
            batch.stored.zero_()
            _spoil("sim.encoder.embed", torch.nan)(self)
        return update(self, batch)

    Training.update = broken
    config = resolve(load("demo", [*TINY, *RARELY]), dataset)
    run = distributed.first_before_others(lambda: FitRun.start(folder / "run", config, dataset))
    told = UserError if rank == 0 else SystemExit
    with pytest.raises(told, match=r"step 5 is not finite.*at step 3" if rank == 0 else "1"):
        fitting.fit(dataset, run, CPU, Console(quiet=True), "stream")
    assert checkpoint.load(run.checkpoint)["step"] == 3
    torch.distributed.destroy_process_group()


def test_the_command_ends_with_one_message_and_status_1(store, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    command = ["simtrain", "fit", str(store), "--out", str(out), "--config", "demo", "--device", "cpu"]
    settings = sets([*TINY, *RARELY, "train.learning_rate=1e8"])
    monkeypatch.setattr("sys.argv", [*command, *settings])
    with pytest.raises(SystemExit, match="1"):
        main()
    said = capsys.readouterr().err
    assert said.count("Error:") == 1
    assert "there is no checkpoint of it yet" in said
    assert not (out / "checkpoint.pt").exists()


def test_the_spreads_are_not_among_the_figures_of_validation(straight):
    assert "val/top1-audio" in lines_of(straight)[-1]
    assert not any("spread" in name for line in lines_of(straight) for name in line)
