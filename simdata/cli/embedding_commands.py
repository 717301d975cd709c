"""The commands that add embeddings to a store: `simdata embed` and `import-embeddings`."""

from __future__ import annotations

from pathlib import Path

import click

import simdata
from simdata.api import ON_ERROR, OnError
from simdata.cli.parts import report_skipped
from simdata.common.local_path import LOCAL
from simdata.common.parameter_names import default
from simdata.common.progress import Bars


@click.command("embed")
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
def embed_command(store: Path, movies: Path, encoders: tuple[str, ...], on_error: OnError) -> None:
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
    report_skipped(summary.skipped)


@click.command("import-embeddings")
@click.argument("store", type=LOCAL)
@click.argument("sources", metavar="MOVIE=PATH...", nargs=-1, required=True)
@click.option("--name", required=True, help="Of the embeddings: they become <modality>_<name>.")
@click.option("--modality", required=True, help="Such as video, audio or text.")
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
def import_embeddings_command(
    store: Path,
    sources: tuple[str, ...],
    name: str,
    modality: str,
    window: int,
    first: int,
    stride: int,
    key: str | None,
    drop_last: tuple[str, ...],
    allow_missing: bool,
) -> None:
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
