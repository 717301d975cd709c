"""The commands `simtrain fit` and `simtrain pretrain`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from simdata.common.local_path import LOCAL
from simtrain.api.runs import asked_for
from simtrain.cli.options import (
    device_option,
    feed_option,
    modalities_option,
    store_argument,
    torch_device,
)
from simtrain.common import distributed, interrupts
from simtrain.config import schema as configuration
from simtrain.config.schema import Config, PretrainConfig
from simtrain.data.dataset import open_dataset
from simtrain.training import pretraining
from simtrain.training.initial_weights import start_options
from simtrain.training.loop import fit
from simtrain.training.starting import start_run

run_option = click.option("--out", required=True, type=LOCAL, help="Run folder; an unfinished run goes on.")


@click.command("fit")
@store_argument
@run_option
@modalities_option
@click.option(
    "--config",
    "name",
    help=f"Preset ({', '.join(configuration.presets())}) or YAML file (default: sim-tiny).",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override, such as train.steps=1000."
)
@device_option
@feed_option
def fit_command(
    store: str | Path,
    out: Path,
    modalities: str | None,
    name: str | None,
    overrides: tuple[str, ...],
    device: str,
    feed: str,
) -> None:
    """Train on STORE; stop it at any time, and the same command goes on.

    On several GPUs: torchrun --nproc-per-node=4 -m simtrain fit STORE ...
    """

    with _stopping("fit", store, out):
        dataset = open_dataset(store)
        run = start_run(dataset, lambda: asked_for(out, name, overrides, modalities, Config), out)
        _say_each(run.notes)
        interrupts.leave(fit(dataset, run, torch_device(device), _console(), feed))
    _say(f"trained {out}; test it with: {shlex.join(['simtrain', 'retrieve', str(out), str(store)])}")


@click.command("pretrain")
@store_argument
@run_option
@click.option(
    "--config",
    "name",
    help=f"Preset ({', '.join(configuration.presets(PretrainConfig))}) or YAML file (default: sim-tiny).",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override, such as mae.mask=random."
)
@device_option
@feed_option
def pretrain_command(
    store: str | Path, out: Path, name: str | None, overrides: tuple[str, ...], device: str, feed: str
) -> None:
    """Train the encoder alone on STORE, to fill in hidden patches of BOLD (vsMAE)."""

    with _stopping("pretrain", store, out):
        dataset = open_dataset(store)
        run = start_run(dataset, lambda: asked_for(out, name, overrides, None, PretrainConfig), out)
        _say_each(run.notes)
        interrupts.leave(pretraining.pretrain(dataset, run, torch_device(device), _console(), feed))
    command = ["simtrain", "fit", str(store), "--out", "RUN", *start_options(run.config, run.path)]
    _say(f"pretrained {out}; start from it with: {shlex.join(command)}")


@contextmanager
def _stopping(command: str, store: str | Path, out: Path) -> Iterator[None]:
    """Leave work that a signal stopped with what goes on with it, and 128 + the signal's number as status.

    Under torchrun the status is 0: to any other it answers with a traceback, and tells no one else.
    """
    with interrupts.caught():
        try:
            yield
        except interrupts.Stopped as stopped:
            if (out / "config.yaml").exists():
                _say(f"go on with: {shlex.join([*_program(), command, str(store), '--out', str(out)])}")
            else:
                _say(f"stopped before {out} was begun: give the same command again")
            sys.exit(128 + stopped.number if distributed.size() == 1 else 0)


def _console() -> Console:
    """Of several processes, the first one speaks for all."""
    return Console(quiet=distributed.rank() != 0)


def _say(text: str) -> None:
    if distributed.rank() == 0:
        click.echo(text)


def _say_each(lines: Iterable[str]) -> None:
    for line in lines:
        _say(line)


def _program() -> list[str]:
    """How simtrain was started."""
    if distributed.size() == 1:
        return ["simtrain"]
    return ["torchrun", f"--nproc-per-node={os.environ['LOCAL_WORLD_SIZE']}", "-m", "simtrain"]
