"""The command `simdata build`."""

from __future__ import annotations

import re
from pathlib import Path

import click

import simdata
from simdata.api import ON_ERROR, OnError
from simdata.cli.parts import console, report_skipped
from simdata.common.local_path import LOCAL
from simdata.common.parameter_names import default
from simdata.common.progress import Bars
from simdata.store.encoding import ENCODINGS

UNITS = ("", "K", "M", "G")


class MemorySize(click.ParamType):
    """A number of bytes such as 4GB (10^9) or 800MiB (2^20)."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(i?)B?", str(value), re.IGNORECASE)
        if match is None:
            self.fail(f"{value!r} is not a size; write for example 4GB", param, ctx)
        return int(float(match[1]) * (1024 if match[3] else 1000) ** UNITS.index(match[2].upper()))


@click.command("build")
@click.argument("catalog")
@click.option("--source", type=LOCAL, required=True, help="Folder with the runs.")
@click.option("--movies", type=LOCAL, required=True, help="Folder with the films, or with sound alone.")
@click.option("--out", type=LOCAL, required=True, help="The store to make or to bring up to date.")
@click.option(
    "--encoding",
    type=click.Choice(list(ENCODINGS)),
    default=default(simdata.build, "encoding"),
    show_default=True,
)
@click.option(
    "--encoder",
    "encoders",
    multiple=True,
    metavar="NAME[,KEY=VALUE...]",
    help="Embedding of the films; may be repeated (see `simdata encoders list`). By default one without "
    "weights for each modality: motion_energy, logmel, words.",
)
@click.option(
    "--modalities",
    metavar="NAME[,NAME...]",
    default=default(simdata.build, "modalities"),
    help="What of the films to take: video, audio, text (of transcripts). By default all that they have.",
)
@click.option("--subject", "subjects", multiple=True, help="Only this subject (may be repeated).")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=default(simdata.build, "workers"),
    show_default=True,
    help="Processes.",
)
@click.option(
    "--max-memory",
    type=MemorySize(),
    default=default(simdata.build, "max_memory"),
    help="Use fewer workers if they might need more, e.g. 4GB.",
)
@click.option(
    "--on-error",
    type=click.Choice(ON_ERROR),
    default=default(simdata.build, "on_error"),
    show_default=True,
    help="What to do when a source is short, broken or not what the catalog says.",
)
@click.option(
    "--checksum/--no-checksum",
    default=default(simdata.build, "checksum"),
    show_default=True,
    help="Hash every source.",
)
@click.option(
    "--spheres",
    type=LOCAL,
    default=default(simdata.build, "spheres"),
    help="Folder with HCP's spheres of fs_LR and fsaverage, in place of those that come with simdata.",
)
def build_command(
    catalog: str,
    source: Path,
    movies: Path,
    out: Path,
    encoding: str,
    encoders: tuple[str, ...],
    modalities: str | None,
    subjects: tuple[str, ...],
    workers: int,
    max_memory: int | None,
    on_error: OnError,
    checksum: bool,
    spheres: Path | None,
) -> None:
    """Convert a release to a store, or continue: CATALOG is a name or a YAML file.

    Done parts are left alone, so the same command resumes a killed build, adds new subjects, and does
    nothing when there is nothing to do.
    """
    from simdata import build_report as report

    with Bars() as progress:
        summary = simdata.build(
            catalog,
            source=source,
            movies=movies,
            out=out,
            encoding=encoding,
            encoders=encoders or default(simdata.build, "encoders"),
            modalities=modalities.split(",") if modalities else None,
            subjects=subjects or default(simdata.build, "subjects"),
            workers=workers,
            max_memory=max_memory,
            on_error=on_error,
            checksum=checksum,
            spheres=spheres,
            progress=progress,
        )
    click.echo(
        f"{out}: {len(summary.converted)} converted, {len(summary.current)} already there, "
        f"{len(summary.skipped)} skipped"
    )
    report.print_build(summary, console())
    report_skipped(summary.skipped)
