"""The commands `simdata encoders list` and `show`."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from simdata.common.errors import UserError
from simdata.encoders import find, names


@click.group("encoders")
def encoder_commands() -> None:
    """Encoders of the films: what can stand behind --encoder."""


@encoder_commands.command("list")
def list_command() -> None:
    """List the encoders that are installed."""
    table = Table("name", "modality", "what")
    for name in names():
        try:
            encoder = find(name)
        except UserError as error:
            table.add_row(name, "", str(error))
        else:
            table.add_row(name, encoder.modality, encoder.summary)
    Console().print(table)


@encoder_commands.command("show")
@click.argument("name")
def show_command(name: str) -> None:
    """Print the settings of an encoder and their defaults."""
    encoder = find(name)
    click.echo(f"{name} ({encoder.modality}): {encoder.summary}")
    for key, field in encoder.Settings.model_fields.items():
        what = f"  ({field.description})" if field.description else ""
        click.echo(f"  {key} = {field.default}{what}")
