"""The commands `simdata splits list` and `show`."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from simdata.common.errors import UserError
from simdata.release import splits_files


@click.group("splits")
def splits_commands() -> None:
    """The splits that simdata knows: sets of subjects and scenes."""


@splits_commands.command("list")
def list_command() -> None:
    """List the splits that come with simdata; what --splits takes besides is a file of yours."""
    table = Table("name", "what")
    for name, what in splits_files.descriptions().items():
        table.add_row(name.replace("[", r"\["), what)
    Console().print(table)


@splits_commands.command("show")
@click.argument("name", required=False)
@click.option("--whole", is_flag=True, help="With the ids of the files that it names in place of these.")
@click.option(
    "--catalog",
    metavar="NAME|FILE",
    help="How the film of this catalog is divided, by NAME or by its own splits.",
)
@click.option(
    "--frames",
    type=click.IntRange(1),
    help="Seconds of the windows that are counted with --catalog (default: 3).",
)
def show_command(name: str | None, whole: bool, catalog: str | None, frames: int | None) -> None:
    """Check splits (a name or a YAML file) and print their text, or what they make of a catalog's film.

    With --catalog it says how many seconds and windows each set has, and how near they are to training film.
    """
    if catalog is not None:
        if whole:
            raise UserError("--whole: prints the text of splits; leave --catalog out")
        print_scene_sets(catalog, name, frames or 3)
    elif name is None:
        raise UserError("give the NAME of splits, or --catalog for those of a catalog")
    elif frames is not None:
        raise UserError("--frames: counts windows of the film of a --catalog")
    elif whole:
        click.echo(splits_files.text_of(splits_files.load_splits(name)), nl=False)
    else:
        splits_files.load_splits(name)
        click.echo(splits_files.text_as_given(name), nl=False)


def print_scene_sets(catalog: str, splits: str | None, frames: int) -> None:
    """A table of how a catalog's film is divided."""
    import simdata
    from simdata.release.scene_sets import NEAR

    table = Table(
        "set", "seconds", f"windows of {frames} s", "nearest training film", f"within {NEAR} s of it"
    )
    for name, of_set in simdata.scene_sets(catalog, splits, frames=frames).items():
        apart = name not in ("train", "guard")
        nearest = "in no run with it" if of_set.nearest is None else f"{of_set.nearest} s"
        table.add_row(
            name,
            f"{of_set.seconds:,}",
            "" if name == "guard" else f"{of_set.windows:,}",
            nearest if apart and of_set.seconds else "",
            f"{100 * of_set.near:.1f} %" if apart and of_set.seconds else "",
        )
    Console().print(table)
