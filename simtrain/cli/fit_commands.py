"""The commands `simtrain fit` and `simtrain pretrain`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from simdata.common.local_path import LOCAL
from simtrain.api.runs import asked_for
from simtrain.cli.options import (
    config_option,
    device_option,
    feed_option,
    modalities_option,
    set_option,
    splits_to_train,
    stores_argument,
    weights_option,
)
from simtrain.common import interrupts, processes
from simtrain.common.device import torch_device
from simtrain.config.schema import Config, PretrainConfig
from simtrain.training import pretraining
from simtrain.training.initial_weights import start_options
from simtrain.training.loop import fit
from simtrain.training.run_folder import AnyRun, FitRun, PretrainRun
from simtrain.training.starting import open_to_train, start_run

run_option = click.option("--out", required=True, type=LOCAL, help="Run folder; an unfinished run goes on.")


@click.command("fit")
@stores_argument
@run_option
@modalities_option
@config_option(Config)
@set_option("train.steps=1000")
@splits_to_train
@weights_option
@device_option
@feed_option
def fit_command(
    stores: tuple[str | Path, ...],
    out: Path,
    modalities: str | None,
    config: str | None,
    overrides: tuple[str, ...],
    splits: tuple[str, ...],
    weights: tuple[float, ...] | None,
    device: str,
    feed: str,
) -> None:
    """Train on STORE, or one model on several; stop it at any time, and the same command goes on.

    On several GPUs: torchrun --nproc-per-node=4 -m simtrain fit STORE ...
    """

    def asked() -> Config:
        return asked_for(out, config, overrides, modalities, Config)

    _train(FitRun, fit, asked, stores, out, splits, weights, device, feed)
    tests = (shlex.join(["simtrain", "retrieve", str(out), str(store)]) for store in stores)
    _say(f"trained {out}; test it with: {' and '.join(tests)}")


@click.command("pretrain")
@stores_argument
@run_option
@config_option(PretrainConfig)
@set_option("mae.ratio=0.5")
@splits_to_train
@weights_option
@device_option
@feed_option
def pretrain_command(
    stores: tuple[str | Path, ...],
    out: Path,
    config: str | None,
    overrides: tuple[str, ...],
    splits: tuple[str, ...],
    weights: tuple[float, ...] | None,
    device: str,
    feed: str,
) -> None:
    """Train the encoder alone on STORE, or on several: to fill in hidden patches of BOLD."""

    def asked() -> PretrainConfig:
        return asked_for(out, config, overrides, None, PretrainConfig)

    run = _train(PretrainRun, pretraining.pretrain, asked, stores, out, splits, weights, device, feed)
    options = [*start_options(run.config, run.path), *(word for own in splits for word in ("--splits", own))]
    command = ["simtrain", "fit", *map(str, stores), "--out", "RUN", *options]
    _say(f"pretrained {out}; start from it with: {shlex.join(command)}")


def _train(
    kind: type[AnyRun],
    train: Callable[..., int | None],
    asked: Callable[[], Config | PretrainConfig],
    stores: tuple[str | Path, ...],
    out: Path,
    splits: tuple[str, ...],
    weights: tuple[float, ...] | None,
    device: str,
    feed: str,
) -> AnyRun:
    """Begin the run, or go on with it, and train it to its end."""
    with _stopping(kind.command, stores, out):
        dataset = open_to_train(stores, out, splits, kind)
        run = start_run(dataset, asked, out, weights)
        _say_each(run.notes)
        interrupts.leave(train(dataset, run, torch_device(device), _console(), feed))
    return run


@contextmanager
def _stopping(command: str, stores: tuple[str | Path, ...], out: Path) -> Iterator[None]:
    """Leave work that a signal stopped with what goes on with it, and 128 + the signal's number as status.

    Under torchrun the status is 0: to any other it answers with a traceback, and tells no one else.
    """
    with interrupts.caught():
        try:
            yield
        except interrupts.Stopped as stopped:
            if (out / "config.yaml").exists():
                words = [*_program(), command, *map(str, stores), "--out", str(out)]
                _say(f"go on with: {shlex.join(words)}")
            else:
                _say(f"stopped before {out} was begun: give the same command again")
            sys.exit(128 + stopped.number if processes.size() == 1 else 0)


def _console() -> Console:
    """The console of this process: of several, the first one speaks for all."""
    return Console(quiet=processes.rank() != 0)


def _say(text: str) -> None:
    if processes.rank() == 0:
        click.echo(text)


def _say_each(lines: Iterable[str]) -> None:
    for line in lines:
        _say(line)


def _program() -> list[str]:
    """How simtrain was started."""
    if processes.size() == 1:
        return ["simtrain"]
    return ["torchrun", f"--nproc-per-node={os.environ['LOCAL_WORLD_SIZE']}", "-m", "simtrain"]
