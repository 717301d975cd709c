"""The commands `simtrain config show` and `simtrain config list`."""

from __future__ import annotations

from collections.abc import Iterator

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from simdata.common.nested import leaves
from simdata.common.parameter_names import TranslatingGroup
from simtrain.config.composition import DEFAULT_PRESET, load
from simtrain.config.reference import KINDS, Group, Key, groups, settings_of_presets, written


@click.group("config", cls=TranslatingGroup)
def config_commands() -> None:
    """Show what can be configured, and list the presets."""


@config_commands.command("show")
@click.argument("preset", metavar="[PRESET|FILE]", default=DEFAULT_PRESET)
@click.option(
    "--pretrain", is_flag=True, help="A configuration of `simtrain pretrain`, not of `simtrain fit`."
)
def show_command(preset: str, pretrain: bool) -> None:
    """Print every key with its value, default, range and meaning."""
    kind = KINDS["pretrain" if pretrain else "fit"]
    config = load(preset, kind=kind)
    values = {key: written(value) for key, value in leaves(config.model_dump(mode="json")).items()}
    table = _table("  key", "value", "meaning, and what it may be")
    table.caption = Text(f"* in {preset} not the default")
    for group in groups(kind):
        for key, value in _valued(group, values):
            table.add_row(*_row(key, value))
        table.add_section()
    Console().print(table)


@config_commands.command("list")
def list_command() -> None:
    """List the presets, and where they differ from the defaults."""
    for command, kind in KINDS.items():
        table = _table("preset", "differs from the defaults in")
        table.title = f"--config of simtrain {command}"
        for name, settings in settings_of_presets(kind).items():
            table.add_row(name, Text(" ".join(settings) or "nothing"))
        Console().print(table)


def _table(first: str, *others: str) -> Table:
    table = Table(
        box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0), title_justify="left", caption_justify="left"
    )
    table.add_column(first, no_wrap=True)
    for column in others:
        table.add_column(column, overflow="fold", max_width=16 if column == "value" else None)
    return table


def _valued(group: Group, values: dict[str, str]) -> Iterator[tuple[Key, str]]:
    """The keys of a group, each with its value, and behind ``*`` those that it stands for."""
    known = {key.name for key in group.keys}
    for key in group.keys:
        yield key, values.get(key.name, "")
        if key.name.endswith("*"):
            own = [name for name in values if name.startswith(f"{group.name}.") and name not in known]
            yield from ((key._replace(name=name), values[name]) for name in own)


def _row(key: Key, value: str) -> tuple[Text, Text, Text]:
    differs = value != (key.default or "")
    default = f"\n(default {key.default})" if differs and key.default else ""
    return (
        Text(f"{'*' if differs else ' '} {key.name}"),
        Text(value).append(default, "dim"),
        Text(f"{key.meaning}\n").append(key.allowed, "dim"),
    )
