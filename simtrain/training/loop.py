"""Training: the loop, its records, and how it stops and goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from simdata.common.errors import UserError
from simtrain.common import distributed, finite, interrupts, processes
from simtrain.common.interrupts import Interrupts
from simtrain.config.training_sections import TrainConfig
from simtrain.data.collection import Collection, by_store, open_reader
from simtrain.data.dataset import Dataset
from simtrain.data.feeds import Batches, Feed, open_feed
from simtrain.data.mixture import shares_of, told_shares, training_batches
from simtrain.data.windows import Windows
from simtrain.models.learner import Learner
from simtrain.training import checkpoint, validation
from simtrain.training.broken_bold import broken_bold
from simtrain.training.contrastive import ContrastiveTraining
from simtrain.training.footprint import training_bytes
from simtrain.training.guard import Diverged
from simtrain.training.initial_weights import load_kept
from simtrain.training.preparation import find_samples, fit_embedding, new_learner
from simtrain.training.run_folder import AnyRun, FitRun
from simtrain.training.scalars import Metrics, NoMetrics, Report
from simtrain.training.step import AnyTraining
from simtrain.training.validation import JointValidation, Validation


def fit(
    dataset: Dataset,
    run: FitRun,
    device: torch.device,
    console: Console,
    feed: str = "auto",
    report: Report | None = None,
) -> int | None:
    """Train to the configured number of steps, from the last checkpoint of ``run`` if it has one.

    Parameters
    ----------
    feed : one of `simtrain.data.feeds.KINDS`; it decides nothing but the speed
    report : called with the step and its scalars whenever they are logged, in the first process

    Returns
    -------
    The number of the signal that stopped it before (`common.interrupts`), None if it came to its end.
    """
    with interrupts.caught():
        used = Windows.of(dataset, run.config)
        samples, held_out = find_samples(used, run.config)
        shares = shares_of(samples, dataset, run.weights)
        learner = new_learner(run, lambda: _learner(used, run, shares)).to(device)
        fit_embedding(learner, samples, dataset, run, shares)
        training = ContrastiveTraining(run.config, learner, used.clips)
        jitter = run.config.data.lag_jitter
        return go_on(training, samples, held_out, dataset, run, console, feed, jitter, report)


def go_on(
    training: AnyTraining,
    samples: np.ndarray,
    held_out: np.ndarray,
    dataset: Dataset,
    run: AnyRun,
    console: Console,
    feed: str,
    jitter: int = 0,
    report: Report | None = None,
) -> int | None:
    """Train as `fit` does, with any kind of training on ``samples``, and validation on ``held_out`` (SAMPLE).

    ``jitter``: s by which the lag of a sample of training may vary; ``feed``, ``report``: as for `fit`
    """
    train = run.config.train
    distributed.must_divide(train.batch_size)
    if (by := _judge(train)) is not None and not len(held_out):
        raise UserError(f"{by}: {dataset.path} has no validation samples to judge training by")
    device = training.learner.device
    if run.checkpoint.exists():
        training.load_state_dict(distributed.first_before_others(lambda: _sound_checkpoint(run)))
        if training.finished:
            console.print(_ended(training))
            return None
        console.print(f"going on from step {training.step} of {run.config.train.steps}")
    held_out, shares = run.known(held_out, dataset), shares_of(samples, dataset, run.weights)
    _announce(training, samples, held_out, console)
    for line in told_shares(samples, held_out, dataset, shares):
        console.print(line, soft_wrap=True, highlight=False)
    judged = [validation.choose(own, train) for own in by_store(held_out, dataset)]
    chosen = np.concatenate(judged)
    source = open_feed(
        feed,
        np.concatenate([samples, chosen]),
        dataset,
        open_reader(dataset),
        run.config.data.frames,
        device,
        training_bytes(training, run.config),
        console,
    )
    validate = _validation(judged, dataset, shares, source, training)
    distributed.same_weights(training.learner)
    drawn = training_batches(samples, dataset, shares, train, training.cursor, jitter)
    own, size = distributed.shares(drawn), train.batch_size // processes.size()
    try:
        with (
            (Metrics if processes.rank() == 0 else NoMetrics)(run.path, training.step, report) as metrics,
            source.batches(own, size) as batches,
            _progress(console) as progress,
            interrupts.caught() as interrupt,
        ):
            interrupt.hold()
            stopped = _loop(training, validate, batches, metrics, progress, interrupt, run)
    except Diverged as fault:
        diverged = f"{fault}: {_advice(training, chosen, dataset, run)}"
        distributed.must_suit_all(diverged)
    if stopped is not None:
        console.print(f"stopped at step {training.step} of {train.steps}")
    return stopped


def _learner(used: Windows, run: FitRun, shares: np.ndarray | None = None) -> Learner:
    """A new one, which knows the clips of training scenes, and the encoder that it starts from."""
    learner = Learner(run.config, used.dataset, used.embeddings)
    learner.stimuli.fit(used.clips, shares)
    if run.config.model.init is not None:
        load_kept(run.path, run.config.model.init, learner.encoder)
    return learner


def _validation(
    judged: list[np.ndarray], dataset: Dataset, shares: np.ndarray, source: Feed, training: AnyTraining
) -> Validation | JointValidation | None:
    """That of the samples of each store, None if there are none."""
    if not isinstance(dataset, Collection):
        return Validation(judged[0], source, training) if len(judged[0]) else None
    stores = [number for number, own in enumerate(judged) if len(own)]
    each = [Validation(judged[number], source, training, dataset.names[number]) for number in stores]
    return JointValidation(each, shares[stores].tolist()) if each else None


def _loop(
    training: AnyTraining,
    validate: Validation | JointValidation | None,
    batches: Batches,
    metrics: Metrics | NoMetrics,
    progress: Progress,
    interrupt: Interrupts,
    run: AnyRun,
) -> int | None:
    train = training.config
    task = progress.add_task("training", total=train.steps, completed=training.step, note="")
    pace = _Pace(training, batches)
    coming, stopped = iter(batches), distributed.agree(interrupt.signal)
    while not training.finished and stopped is None:
        batch, rate = next(coming), training.rate(training.step + 1)
        losses = training.update(batch)
        step, last = training.step, training.step == train.steps
        logs, saves = step % train.log_every == 0 or last, step % train.checkpoint_every == 0
        validation_due = validate if step % train.validate_every == 0 or last else None
        if logs or validation_due is not None:
            training.must_be_sound()
        elif training.guard.due:
            training.guard.check()
        if logs:
            values = _training_values(training, losses, rate)
            values |= pace.lap()
            metrics.write(step, values)
            progress.update(task, completed=step, note=_note(values))
        if validation_due is not None:
            values = validation_due()
            metrics.write(step, values)
            if better := training.improved(values):
                _save(run.best, training.tested_state())
            note = ", the best so far" if better else ""
            whole, *of_stores = _summaries(values)
            progress.console.print(f"step {step}: {whole}{note}", soft_wrap=True)
            for line in of_stores:
                progress.console.print(f"step {step}, {line}", soft_wrap=True)
            pace.lap()
        stopped = distributed.agree(interrupt.signal)
        if saves or training.finished or stopped is not None:
            training.must_be_sound()
            training.must_work(batch)
            metrics.settle()
            _save(run.checkpoint, training.state_dict())
    if training.patience.exhausted:
        progress.console.print(_ended(training))
    return None if training.finished else stopped


def _judge(train: TrainConfig) -> str | None:
    """The setting by which training cannot do without validation."""
    if train.patience is not None:
        return "train.patience"
    return "train.schedule plateau" if train.schedule == "plateau" else None


def _ended(training: AnyTraining) -> str:
    """Why there is nothing more to do."""
    train = training.config
    if training.patience.exhausted:
        return (
            f"stopped early at step {training.step}: none of {train.patience} validations in a row is better "
            f"by {train.best_by}"
        )
    return f"finished: all {train.steps} steps are done (a larger train.steps goes on to more)"


def _sound_checkpoint(run: AnyRun) -> dict[str, Any]:
    state = checkpoint.load(run.checkpoint)
    finite.must_be_sound(state, run.checkpoint, checkpoint.USELESS)
    return state


def _save(path: Path, state: dict[str, Any]) -> None:
    """Save what is the same in all processes, once."""
    if processes.rank() == 0:
        checkpoint.save(path, state)


class _Pace:
    """Samples per second, and the share of the time spent waiting for data, since the last lap."""

    def __init__(self, training: AnyTraining, batches: Batches) -> None:
        self._training, self._batches = training, batches
        self._before = self._now()

    def lap(self) -> dict[str, float]:
        before, self._before = self._before, self._now()
        seconds, steps, waited = (self._before - before).tolist()
        return {
            "feed/samples_per_second": steps * self._training.config.batch_size / seconds,
            "feed/waiting": waited / seconds,
        }

    def _now(self) -> np.ndarray:
        return np.array([time.perf_counter(), self._training.step, self._batches.waited])


def _training_values(training: AnyTraining, losses: dict[str, torch.Tensor], rate: float) -> dict[str, float]:
    readings = training.readings() | training.guard.readings()
    values = {f"train/{name}": float(value) for name, value in (losses | readings).items()}
    return values | {"train/learning_rate": rate}


def _advice(training: AnyTraining, held_out: np.ndarray, dataset: Dataset, run: AnyRun) -> str:
    """What to do about a training that has diverged, and what is left of it."""
    samples = held_out if training.guard.samples is None else training.guard.samples
    if broken := broken_bold(training.learner, samples, dataset, run.config.data.frames):
        cause = broken
    else:
        precision = "" if training.precision is None else ", or train.amp=off,"
        cause = f"train with a lower train.learning_rate{precision} in another `out`"
    left = "there is no checkpoint of it yet"
    if run.checkpoint.exists():
        step = checkpoint.load(run.checkpoint)["step"]
        left = f"{run.checkpoint} is as it was at step {step}, from where the same command goes on"
    return f"{cause}; nothing of this was saved, {left}"


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


def _note(values: dict[str, float]) -> str:
    return (
        f"loss {values['train/loss']:.3f}, {values['feed/samples_per_second']:.0f} samples/s, "
        f"{values['feed/waiting']:.1%} waiting for data"
    )


def _summaries(values: dict[str, float]) -> list[str]:
    """A line of what validation gives, and one for each of several stores."""
    lines: dict[str, list[str]] = {}
    for name, value in values.items():
        of, _, score = name.removeprefix("val/").rpartition("/")
        lines.setdefault(of, []).append(f"{score} {value:.3f}")
    return [f"{of}: {', '.join(told)}" if of else ", ".join(told) for of, told in lines.items()]


def _announce(training: AnyTraining, samples: np.ndarray, held_out: np.ndarray, console: Console) -> None:
    weights = sum(parameter.numel() for parameter in training.learner.parameters())
    precision = (
        "float32" if training.precision is None else f"{training.precision} autocast".removeprefix("torch.")
    )
    console.print(
        f"{len(samples):,} training samples, {len(held_out):,} of validation; {weights / 1e6:.2f} M weights, "
        f"{precision} on {training.learner.device}"
    )
    if training.draws_by_share:
        console.print(
            "dropout: every process and part of a batch draws its own, so that the result is another one "
            "than with one process and train.accumulate=1, though as good; without dropout they are equal",
            soft_wrap=True,
        )
