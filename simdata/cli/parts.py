"""What commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import click
from rich.console import Console


def default(function: Callable[..., object], parameter: str) -> Any:
    """What the library takes for a parameter that is not given."""
    return signature(function).parameters[parameter].default


def console() -> Console:
    """As wide as the terminal; of 110 columns in a file."""
    return Console(width=None if sys.stdout.isatty() else 110)


def report_skipped(skipped: Mapping[str, str]) -> None:
    """List what was left out, and exit with 3 if there is any."""
    for key, reason in skipped.items():
        click.echo(f"  skipped {key}: {reason}", err=True)
    if skipped:
        sys.exit(3)
