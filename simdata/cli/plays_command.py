"""The command `simdata plays`."""

from __future__ import annotations

import math
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

import simdata
from simdata.cli.parts import console
from simdata.common.local_path import LOCAL
from simdata.common.printable import printable

NUMBERS = ("onset", "film_start", "duration", "scan_seconds", "tr")


@click.command("plays")
@click.argument("catalog")
@click.option("--source", type=LOCAL, required=True, help="Folder with the runs.")
@click.option("--movies", type=LOCAL, help="Folder with the films: whether they are there is then said too.")
@click.option("--subject", "subjects", multiple=True, help="Only this subject (may be repeated).")
@click.option("--out", type=LOCAL, help="Write the table to this file (.tsv), which a catalog can name then.")
def plays_command(
    catalog: str, source: Path, movies: Path | None, subjects: tuple[str, ...], out: Path | None
) -> None:
    """Print which stretch of which film was shown in which run, and what is missing.

    Only headers are read. Exits with 3 if something is missing.
    """
    found = simdata.plays(catalog, source=source, movies=movies, subjects=subjects or None)
    table = Table()
    for name in found.table.columns:
        table.add_column(name.replace("_", " "), justify="right" if name in NUMBERS else "left")
    for row in found.table.itertuples(index=False):
        table.add_row(*(escape(printable(_text(value))) for value in row))
    console().print(table)
    for place, why in found.missing:
        console().print(printable(f"{place}: {why}"), highlight=False, markup=False, soft_wrap=True)
    if out is not None:
        found.table.to_csv(out, sep="\t", index=False, na_rep="n/a")
    if found.missing:
        raise SystemExit(3)


def _text(value: object) -> str:
    if isinstance(value, float):
        return "to the end" if math.isnan(value) else f"{value:.10g}"
    return str(value)
