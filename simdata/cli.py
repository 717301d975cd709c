"""The command line of simdata."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

import simdata
from simdata.api import ON_ERROR
from simdata.common import json_text
from simdata.common.errors import UserError
from simdata.common.local_path import LOCAL
from simdata.common.progress import Bars
from simdata.release import catalog as catalogs
from simdata.store.encoding import ENCODINGS

UNITS = ("", "K", "M", "G")


def default(function: Callable[..., Any], parameter: str) -> Any:
    """What the library takes for a parameter that is not given."""
    return signature(function).parameters[parameter].default


def main() -> None:
    """Entry point: a UserError is printed as a message, not as a traceback."""
    try:
        cli.main(standalone_mode=True)
    except UserError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(simdata.__version__)
def cli() -> None:
    """Movie-watching fMRI and its stimuli as one Zarr store."""


class Memory(click.ParamType):
    """A number of bytes such as 4GB (10^9) or 800MiB (2^20)."""

    name = "size"

    def convert(self, value, param, ctx) -> int:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(i?)B?", str(value), re.IGNORECASE)
        if match is None:
            self.fail(f"{value!r} is not a size; write for example 4GB", param, ctx)
        return int(float(match[1]) * (1024 if match[3] else 1000) ** UNITS.index(match[2].upper()))


@cli.command()
@click.argument("catalog")
@click.option("--source", type=LOCAL, required=True, help="Folder with the CIFTI runs.")
@click.option("--movies", type=LOCAL, required=True, help="Folder with the films.")
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
    default=default(simdata.build, "encoders"),
    show_default=True,
    help="Embedding of the films; may be repeated (see `simdata encoders list`).",
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
    type=Memory(),
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
def build(
    catalog, source, movies, out, encoding, encoders, subjects, workers, max_memory, on_error, checksum
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
            encoders=encoders,
            subjects=subjects or default(simdata.build, "subjects"),
            workers=workers,
            max_memory=max_memory,
            on_error=on_error,
            checksum=checksum,
            progress=progress,
        )
    click.echo(
        f"{out}: {len(summary.converted)} converted, {len(summary.current)} already there, "
        f"{len(summary.skipped)} skipped"
    )
    report.print_build(summary, Console(width=None if sys.stdout.isatty() else 110))
    _report_skipped(summary.skipped)


@cli.command()
@click.argument("store", type=LOCAL)
@click.option("--movies", type=LOCAL, required=True, help="Folder with the films the store was built from.")
@click.option(
    "--encoder",
    "encoders",
    multiple=True,
    required=True,
    metavar="NAME[,KEY=VALUE...]",
    help="Such as videomae,weights=FOLDER,layer=6; may be repeated, a film is decoded once for all.",
)
@click.option(
    "--on-error", type=click.Choice(ON_ERROR), default=default(simdata.embed, "on_error"), show_default=True
)
def embed(store, movies, encoders, on_error) -> None:
    """Add embeddings of the films to STORE, or replace them.

    An array appears when it is whole. The same command continues one that was killed, and does nothing when
    there is nothing to do.
    """
    with Bars() as progress:
        summary = simdata.embed(store, movies=movies, encoders=encoders, on_error=on_error, progress=progress)
    for array in summary.written:
        click.echo(f"{store}: {array} written")
    for array in summary.current:
        click.echo(f"{store}: {array} is already there")
    _report_skipped(summary.skipped)


@cli.command("import-embeddings")
@click.argument("store", type=LOCAL)
@click.argument("sources", metavar="MOVIE=PATH...", nargs=-1, required=True)
@click.option("--name", required=True, help="Of the embeddings: they become <modality>_<name>.")
@click.option("--modality", type=click.Choice(["video", "audio"]), required=True)
@click.option(
    "--window",
    type=int,
    default=default(simdata.import_embeddings, "window"),
    show_default=True,
    help="Length of a clip in s.",
)
@click.option(
    "--first",
    type=int,
    default=default(simdata.import_embeddings, "first"),
    show_default=True,
    help="Second at which row 0's clip begins.",
)
@click.option(
    "--stride",
    type=int,
    default=default(simdata.import_embeddings, "stride"),
    show_default=True,
    help="Seconds from a clip to the next.",
)
@click.option("--key", help="Array in .npz and HDF5 files that hold several; {movie} stands for the movie.")
@click.option(
    "--drop-last",
    multiple=True,
    metavar="[MOVIE=]N",
    help="Drop rows from the end, such as a last clip written twice; may be given for several movies.",
)
@click.option(
    "--allow-missing",
    is_flag=True,
    default=default(simdata.import_embeddings, "allow_missing"),
    help="Clips and movies without a row are NaN, not an error.",
)
def import_embeddings(store, sources, name, modality, window, first, stride, key, drop_last, allow_missing):
    """Add embeddings that you computed elsewhere to STORE, or replace them.

    PATH is an .npy, .npz, .h5 or .hdf5 file with an array (clips, features), or a folder with a file per
    clip, ordered by the number in their names. Row i describes the clip of WINDOW s that begins at second
    FIRST + i * STRIDE of MOVIE; there must be a row for each clip that lies wholly inside the film. A file
    with an array for each movie may be given as PATH alone.
    """
    summary = simdata.import_embeddings(
        store,
        sources,
        name=name,
        modality=modality,
        window=window,
        first=first,
        stride=stride,
        key=key,
        drop_last=drop_last,
        allow_missing=allow_missing,
    )
    click.echo(f"{store}: {summary.array} {'written' if summary.written else 'is already there'}")
    for movie, rows in summary.movies.items():
        click.echo(f"  {movie}: {rows}")


def _report_skipped(skipped: dict[str, str]) -> None:
    """List what was left out, and exit with 3 if there is any."""
    for key, reason in skipped.items():
        click.echo(f"  skipped {key}: {reason}", err=True)
    if skipped:
        sys.exit(3)


@cli.command()
@click.argument("store", type=LOCAL)
@click.argument("out", type=LOCAL)
@click.option(
    "--layout",
    required=True,
    metavar="NAME[,KEY=VALUE...]",
    help="seconds, as built; blocks,seconds=10; runs; compressed,codec=zstd,level=3,seconds=1 (codecs: "
    "zstd, blosc, gzip).",
)
def rechunk(store: Path, out: Path, layout: str) -> None:
    """Write STORE to OUT with its BOLD in another layout.

    Values stay exactly what they are, and everything else is copied. OUT appears when it is whole; the same
    command goes on after a kill. `simdata build` continues only stores in the layout `seconds`.
    """
    with Bars() as progress:
        before, after = simdata.rechunk(store, out, layout=layout, progress=progress)
    click.echo(f"{out}: BOLD is {after / 1e6:,.0f} MB, {after / max(before, 1):.2f} of what it was")


@cli.command()
@click.argument("store", type=LOCAL)
@click.option(
    "--seconds", type=click.FloatRange(0.1), default=1.0, show_default=True, help="Of a measurement."
)
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, exists=True, file_okay=False, writable=True),
    help="Folder for a few runs in other layouts (default: a temporary one).",
)
@click.option("--json", "file", type=LOCAL, help="Also write the figures to this file.")
def bench(store: Path, seconds: float, scratch: Path | None, file: Path | None) -> None:
    """Measure how fast this machine reads STORE, and would in other layouts: windows of 3 s a second."""
    from simdata.benchmark import bench as measure
    from simdata.benchmark import print_findings

    if file is not None and not file.absolute().parent.is_dir():  # before all the measuring
        raise UserError(f"--json {file}: there is no folder {file.parent}")
    with Bars() as progress:
        found = measure(store, seconds=seconds, scratch=scratch, progress=progress)
    print_findings(found, Console(width=None if sys.stdout.isatty() else 110))
    if file is not None:
        file.write_text(json_text.dumps(found.as_json(), indent=2) + "\n")


@cli.command()
@click.argument("store", type=LOCAL)
def info(store: Path) -> None:
    """Print what is in a store."""
    from simdata.overview import print_info

    print_info(store, Console(width=None if sys.stdout.isatty() else 110))


@cli.group()
def catalog() -> None:
    """The data sets that simdata knows."""


@catalog.command("list")
def catalog_list() -> None:
    """List the catalogs that come with simdata."""
    table = Table("name", "title", "movies", "volumes")
    for name in catalogs.shipped():
        known, _ = catalogs.load(name)
        volumes = sum(movie.volumes for movie in known.movies)
        table.add_row(name, known.title, str(len(known.movies)), str(volumes))
    Console().print(table)


@catalog.command("show")
@click.argument("name")
def catalog_show(name: str) -> None:
    """Check a catalog (a name or a YAML file) and print its text."""
    _, text = catalogs.load(name)
    click.echo(text, nl=False)


@cli.group()
def encoders() -> None:
    """Encoders of the films: what can stand behind --encoder."""


@encoders.command("list")
def encoders_list() -> None:
    """List the encoders that are installed."""
    from simdata.encoders import find, names

    table = Table("name", "modality", "what")
    for name in names():
        try:
            encoder = find(name)
        except UserError as error:
            table.add_row(name, "", str(error))
        else:
            table.add_row(name, encoder.modality, encoder.summary)
    Console().print(table)


@encoders.command("show")
@click.argument("name")
def encoders_show(name: str) -> None:
    """Print the settings of an encoder and their defaults."""
    from simdata.encoders import find

    encoder = find(name)
    click.echo(f"{name} ({encoder.modality}): {encoder.summary}")
    for key, field in encoder.Settings.model_fields.items():
        what = f"  ({field.description})" if field.description else ""
        click.echo(f"  {key} = {field.default}{what}")


@cli.command()
@click.argument("folder", type=LOCAL)
@click.option("--subjects", type=click.IntRange(min=2), default=9, show_default=True)
@click.option("--density", type=click.Choice(["59k", "32k"]), default="59k", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def demo(folder: Path, subjects: int, density: str, seed: int) -> None:
    """Write a synthetic miniature of the release: FOLDER/hcp and FOLDER/movies.

    Real CIFTI-2 and mp4 files under the release's names, with a known response to the films planted in
    the noise. Build it with the catalog "demo".
    """
    from simdata.synthetic import write_demo

    write_demo(folder, subjects=subjects, density=density, seed=seed, progress=click.echo)
