"""The commands on a store that is there: `simdata info`, `rechunk`, `parcellate`, `resplit` and `bench`."""

from __future__ import annotations

from pathlib import Path

import click

import simdata
from simdata.cli.parts import console
from simdata.common import json_text
from simdata.common.errors import UserError
from simdata.common.local_path import LOCAL
from simdata.common.progress import Bars


@click.command("info")
@click.argument("store", type=LOCAL)
def info_command(store: Path) -> None:
    """Print what is in a store."""
    from simdata.overview import print_info

    print_info(store, console())


@click.command("rechunk")
@click.argument("store", type=LOCAL)
@click.argument("out", type=LOCAL)
@click.option(
    "--layout",
    required=True,
    metavar="NAME[,KEY=VALUE...]",
    help="seconds, as built; blocks,seconds=10; runs; compressed,codec=zstd,level=3,seconds=1 (codecs: "
    "zstd, blosc, gzip).",
)
def rechunk_command(store: Path, out: Path, layout: str) -> None:
    """Write STORE to OUT with its BOLD in another layout.

    Values stay exactly what they are, and everything else is copied. OUT appears when it is whole; the same
    command goes on after a kill. `simdata build` continues only stores in the layout `seconds`.
    """
    with Bars() as progress:
        before, after = simdata.rechunk(store, out, layout=layout, progress=progress)
    click.echo(f"{out}: BOLD is {after / 1e6:,.0f} MB, {after / max(before, 1):.2f} of what it was")


@click.command("parcellate")
@click.argument("store", type=LOCAL)
@click.argument("atlas", type=LOCAL, nargs=-1, required=True)
@click.option("--out", required=True, type=LOCAL, help="The store to make.")
@click.option(
    "--mesh",
    help="That ATLAS is on, where its number of vertices does not tell: ico6, 32k, 59k, fsaverage5, 6 or 7.",
)
@click.option(
    "--encoding",
    type=click.Choice(["int8", "float16", "float32"]),
    default="float32",
    show_default=True,
    help="Of the z-scores of parcels.",
)
def parcellate_command(
    store: Path, atlas: tuple[Path, ...], out: Path, mesh: str | None, encoding: str
) -> None:
    """Write STORE to another place with the parcels of ATLAS in place of its vertices.

    ATLAS is a dlabel.nii, or the label.gii or annot of each hemisphere. A parcel is the mean over its
    vertices of the cortex in the scanner's units, as of `wb_command -cifti-parcellate`, and then z-scored
    over its run. OUT appears when it is whole; the same command goes on after a kill.
    """
    with Bars() as progress:
        done = simdata.parcellate(store, atlas, out=out, mesh=mesh, encoding=encoding, progress=progress)
    click.echo(
        f"{out}: {len(done.parcels):,} parcels, of {done.fewest:,} vertices or more, in {done.runs:,} runs"
    )
    if done.without:
        named = ", ".join(done.without[:5]) + (", ..." if len(done.without) > 5 else "")
        click.echo(f"outside of the store's cortex, and left out: {named}")


@click.command("resplit")
@click.argument("store", type=LOCAL)
@click.option(
    "--splits", required=True, metavar="NAME|FILE", help="By name (simdata splits list), or a YAML file."
)
def resplit_command(store: Path, splits: str) -> None:
    """Divide the subjects and scenes of STORE into other sets.

    They are train, val and test. It takes seconds: nothing is converted. `subjects` or `scenes` that the
    splits leave out stay. Training runs of before keep the sets that they were trained with.
    """
    done = simdata.resplit(store, splits)
    for warning in done.warnings:
        click.echo(f"warning: {warning}", err=True)
    subjects, seconds = (
        ", ".join(f"{number:,} {split}" for split, number in of_each.items() if number)
        for of_each in (done.subjects, done.seconds)
    )
    unchanged = "" if done.changed else ", as before"
    click.echo(f"{store}: subjects: {subjects}; seconds of film: {seconds}{unchanged}")


@click.command("bench")
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
def bench_command(store: Path, seconds: float, scratch: Path | None, file: Path | None) -> None:
    """Measure how fast this machine reads STORE, and would in other layouts: windows of 3 s a second."""
    from simdata.benchmark import bench as measure
    from simdata.benchmark import print_findings

    if file is not None and not file.absolute().parent.is_dir():  # before all the measuring
        raise UserError(f"--json {file}: there is no folder {file.parent}")
    with Bars() as progress:
        found = measure(store, seconds=seconds, scratch=scratch, progress=progress)
    print_findings(found, console())
    if file is not None:
        file.write_text(json_text.dumps(found.as_json(), indent=2) + "\n")
