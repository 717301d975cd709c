"""The command `simtrain reproduce`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from simdata.common.local_path import LOCAL
from simtrain.cli.options import POOL, device_option, set_option, store_argument
from simtrain.common import interrupts
from simtrain.reproduction.plan import Plan
from simtrain.reproduction.reproducing import reproduced


@click.command("reproduce")
@store_argument
@click.option("--table", required=True, type=click.Choice(tuple(Plan.read().tables)), help="Of the paper.")
@click.option("--out", required=True, type=LOCAL, help="Folder; what is done in it is not done again.")
@click.option(
    "--pool", type=POOL, help="Candidates of each test (default: as published, if clips are long enough)."
)
@click.option("--demo", is_flag=True, help="Small enough for a store of `simdata demo`, in minutes.")
@click.option(
    "--published",
    type=LOCAL,
    metavar="FILE",
    help="YAML with published numbers, beside those known to us.",
)
@set_option("train.steps=1000")
@device_option
def reproduce_command(
    store: str | Path,
    table: str,
    out: Path,
    pool: Any,
    demo: bool,
    published: Path | None,
    overrides: tuple[str, ...],
    device: str,
) -> None:
    """Train and test on STORE what a table of the paper has, beside the published numbers.

    Table 1: new subjects; 2: new scenes; 3: both; C1: the encoder frozen, fine-tuned and from scratch. Writes
    FOLDER/table-N.md, .csv and .json, and every training and test below FOLDER. Stop it at any time, and the
    same command goes on.
    """
    with interrupts.caught():
        try:
            found = reproduced(store, out, table, overrides, demo, pool, published, device, progress=True)
        except interrupts.Stopped as stopped:
            command = shlex.join(["simtrain", *sys.argv[1:]])
            click.echo(f"stopped; what is done in {out} is kept; go on with: {command}")
            sys.exit(128 + stopped.number)
    found.show(Console())
    click.echo(f"wrote {out}/table-{table}.md, .csv and .json")
