"""The commands `simdata catalog list` and `show`."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from simdata.release import catalog as catalogs


@click.group("catalog")
def catalog_commands() -> None:
    """The data sets that simdata knows."""


@catalog_commands.command("list")
def list_command() -> None:
    """List the catalogs that come with simdata."""
    table = Table("name", "title", "movies", "volumes")
    for name in catalogs.shipped():
        known, _ = catalogs.load(name)
        volumes = sum(movie.length for movie in known.movies)
        table.add_row(name, known.title, str(len(known.movies)), str(volumes))
    Console().print(table)


@catalog_commands.command("show")
@click.argument("name")
def show_command(name: str) -> None:
    """Check a catalog (a name or a YAML file) and print its text."""
    _, text = catalogs.load(name)
    click.echo(text, nl=False)
