"""The command `simtrain correlate`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from simdata.common.local_path import LOCAL
from simdata.common.parameter_names import default
from simdata.surface.meshes import HEMISPHERES
from simtrain.api.correlation import Correlations, correlate
from simtrain.retrieval.report import narrow_table
from simtrain.surface.meeting import BOTH
from simtrain.surface.spin_test import STATISTICS

SAID = 100  # rotations between two lines of progress


class MapFiles(click.ParamType[list[Path]]):
    """One file, or those of both hemispheres with a comma between them."""

    name = "FILE[,FILE]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Path]:
        if isinstance(value, list):
            return value
        return [LOCAL.convert(one, param, ctx) for one in re.split(r",(?=.)", value)]


@click.command("correlate")
@click.argument("map", type=MapFiles())
@click.argument("reference", type=MapFiles())
@click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="NAME",
    help="Only this map of MAP, such as mean (default: all); may be repeated.",
)
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="NAME",
    help="Only this map of REFERENCE (default: all); may be repeated.",
)
@click.option(
    "--statistic",
    type=click.Choice(STATISTICS),
    default=default(correlate, "statistic"),
    show_default=True,
    help="Of the values, or of their ranks over the vertices.",
)
@click.option(
    "--hemispheres",
    type=click.Choice([BOTH, *HEMISPHERES]),
    default=default(correlate, "hemispheres"),
    show_default=True,
    help="Compare both together, or one.",
)
@click.option(
    "--rotations",
    type=click.IntRange(1),
    default=default(correlate, "rotations"),
    show_default=True,
    help="Random ones; p is no less than 1 / (1 + rotations).",
)
@click.option(
    "--seed", type=click.IntRange(0), default=default(correlate, "seed"), show_default=True, help="Of them."
)
@click.option(
    "--sphere",
    "spheres",
    type=LOCAL,
    multiple=True,
    help="surf.gii of a hemisphere's sphere, for meshes other than ico6, 32k and 59k (give both).",
)
@click.option("--out", type=LOCAL, help="JSON file to write.")
def correlate_command(out: Path | None, **options: Any) -> None:
    """Correlate the maps of MAP with those of REFERENCE over the cortex, p by the spin test.

    Each is a dscalar.nii, or a func.gii or shape.gii, those of L and R with a comma between them: what
    `simtrain saliency` and `encode` write, a gradient, a contrast of a task. Both on one mesh.

    The test turns the sphere of MAP at random, that of R as the mirror image of L, and correlates again
    (Alexander-Bloch et al. 2018): so that p knows how smooth maps are.
    """
    found = correlate(progress=_say, **options)
    Console().print(_table(found))
    if out is not None:
        found.save(out)
        click.echo(f"wrote {out}")


def _say(done: int, total: int) -> None:
    if done % SAID == 0:
        click.echo(f"rotation {done} of {total}", err=True)


def _table(found: Correlations) -> Table:
    settings = found.settings
    caption = (
        f"over {settings['vertices']} vertices of {' and '.join(settings['hemispheres'])}; p: two-sided, by "
        f"{settings['rotations']} rotations, not corrected for the number of rows"
    )
    table = narrow_table(f"Correlation ({settings['statistic']})", caption)
    for column in ("map", "reference"):
        table.add_column(column)
    for column in ("r", "p"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in found.metrics.itertuples():
        table.add_row(str(row.map), str(row.reference), f"{row.r:.3f}", f"{row.p:.4f}")
    return table
