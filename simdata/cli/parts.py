"""What commands share."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import click
from rich.console import Console


def console() -> Console:
    """A console as wide as the terminal, or of 110 columns in a file."""
    return Console(width=None if sys.stdout.isatty() else 110)


def report_skipped(skipped: Mapping[str, str]) -> None:
    """List what was left out, and exit with 3 if there is any."""
    for key, reason in skipped.items():
        click.echo(f"  skipped {key}: {reason}", err=True)
    if skipped:
        sys.exit(3)
