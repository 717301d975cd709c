"""The command `simtrain compare`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from simdata.common.local_path import LOCAL
from simtrain.api.comparison import Comparison, compare
from simtrain.cli.options import (
    metric_option,
    movie_option,
    protocol_option,
    split_option,
    subject_option,
    tested_option,
)
from simtrain.data.experiments import SEEN, SET_NAMES
from simtrain.retrieval.comparison import Difference
from simtrain.retrieval.intervals import CONFIDENCE, FEWEST
from simtrain.retrieval.metrics import RetrievalMetric
from simtrain.retrieval.report import FAMILY_P, NOTE_ON_SEEN, narrow_table


@click.command("compare")
@click.argument("one", type=LOCAL, metavar="RUN")
@click.argument("other", type=LOCAL, metavar="OTHER")
@tested_option
@split_option
@protocol_option("The one that both must have been tested by (default: any, but the same for both).")
@subject_option
@movie_option
@metric_option
@click.option("--out", type=LOCAL, help="JSON file to write, with the differences of every subject.")
def compare_command(
    one: Path,
    other: Path,
    experiment: str,
    out: Path | None,
    **which: Any,
) -> None:
    """Tell whether RUN does better than OTHER in the retrieval test that both were put to.

    Each is the folder of a run after `simtrain retrieve`, or of a baseline, such as baselines/ridge. Windows
    are compared one by one; differences are to hold for other subjects and other film clips.
    """
    found = compare(one, other, experiment=experiment, **which)
    Console().print(_table(found))
    if out is not None:
        found.save(out)
        click.echo(f"wrote {out}")


def _table(found: Comparison) -> Table:
    one, other = found.names
    caption = (
        f"difference: {one} less {other}{_on_intervals(found.differences)}; family p: two-sided, by flipping "
        f"the signs of subjects' differences, against the largest of all {len(found.differences)} figures; "
        "%ile: percent of the negatives that come first, less is better"
    )
    if any(row.experiment == SEEN for row in found.differences):
        caption += f"; {NOTE_ON_SEEN}"
    title = f"{one} and {other} in retrieval ({found.protocol['name']}), {SET_NAMES[found.protocol['split']]}"
    table = narrow_table(title, caption)
    for column in ("experiment", "direction", "figure"):
        table.add_column(column, no_wrap=True)
    for column in (one, other, "difference", FAMILY_P):
        table.add_column(column, justify="right")
    for _, of_experiment in groupby(found.differences, key=lambda row: row.experiment):
        for row in of_experiment:
            table.add_row(
                row.experiment, row.direction, *_cells(row, found.compared[row.figure]), f"{row.family_p:.3f}"
            )
        table.add_section()
    return table


def _on_intervals(differences: Sequence[Difference]) -> str:
    sizes = {(row.subjects, row.clips): row.low is not None for row in differences}
    told = f", below it the {CONFIDENCE} % interval, for other subjects and other film clips"
    few = [f"{subjects} and {clips}" for (subjects, clips), shown in sizes.items() if not shown]
    missing = f"; no interval with fewer than {FEWEST} subjects or film clips: there are {', '.join(few)}"
    return (told if any(sizes.values()) else "") + (missing if few else "")


def _cells(row: Difference, metric: RetrievalMetric) -> Iterator[str]:
    """The figure, both means, and the difference with its interval below it."""
    scale, digits = (100, 1) if metric.percent else (1, metric.digits)
    yield metric.heading or row.figure
    yield from (f"{scale * value:.{digits}f}" for value in (row.one, row.other))
    shown = f"{scale * row.difference:+.{digits}f}"
    if row.low is None or row.high is None:
        yield shown
    else:
        yield f"{shown}\n{scale * row.low:+.{digits}f} to {scale * row.high:+.{digits}f}"
