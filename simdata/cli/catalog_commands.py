"""The commands `simdata catalog list`, `show` and `init`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from simdata.common.errors import UserError
from simdata.common.local_path import LOCAL
from simdata.release import catalog as catalogs


@click.group("catalog")
def catalog_commands() -> None:
    """The data sets that simdata knows."""


@catalog_commands.command("list")
def list_command() -> None:
    """List the catalogs that come with simdata."""
    table = Table("name", "title", "movies", "seconds")
    for name in catalogs.shipped():
        known, _ = catalogs.load(name)
        movies = str(len(known.movies)) if known.movies else "of the tree"
        told = known.movies and all(movie.has_length for movie in known.movies)
        seconds = str(sum(movie.length for movie in known.movies)) if told else "of the films"
        table.add_row(name, known.title, movies, seconds)
    Console().print(table)


@catalog_commands.command("show")
@click.argument("name")
def show_command(name: str) -> None:
    """Check a catalog (a name or a YAML file) and print its text."""
    _, text = catalogs.load(name)
    click.echo(text, nl=False)


@catalog_commands.command("init")
@click.option("--bids", type=LOCAL, required=True, help="Folder of a BIDS derivative, such as fMRIPrep's.")
@click.option("--out", type=LOCAL, help="A new YAML file; without it the catalog is printed.")
def init_command(bids: Path, out: Path | None) -> None:
    """Write a first catalog of a BIDS tree, with comments on what is to be decided."""
    from simdata.catalog_draft import draft_catalog

    text = draft_catalog(bids)
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"`out` {out}: is there already; give a new file") from None
    except OSError as error:
        raise UserError(
            f"`out` {out}: cannot be written ({(error.strerror or str(error)).lower()})"
        ) from None
    click.echo(f"{out}: read it, and decide where a comment asks; `simdata catalog show {out}` checks it")
