"""The commands `simdata splits list` and `show`."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from simdata.common.yaml_text import read_text
from simdata.release import splits_files


@click.group("splits")
def splits_commands() -> None:
    """The splits that simdata knows: sets of subjects and scenes."""


@splits_commands.command("list")
def list_command() -> None:
    """List the splits that come with simdata; what --splits takes besides is a file of yours."""
    table = Table("name", "what")
    for name, file in splits_files.shipped().items():
        table.add_row(name, read_text(file).splitlines()[0].removeprefix("# "))
    Console().print(table)


@splits_commands.command("show")
@click.argument("name")
@click.option("--whole", is_flag=True, help="With the ids of the files that it names in place of these.")
def show_command(name: str, whole: bool) -> None:
    """Check splits (a name or a YAML file) and print their text."""
    splits = splits_files.load_splits(name)
    click.echo(splits_files.text_of(splits) if whole else read_text(splits_files.found_file(name)), nl=False)
