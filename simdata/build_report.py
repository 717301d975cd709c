"""What `simdata build` says at its end of what it did not take, and `simdata info` at any time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from simdata.common.printable import printable
from simdata.release.sources import Rejected

if TYPE_CHECKING:
    from simdata.build_recipe import BuildSummary

FEW = 3  # paths of a reason that a build lists


def print_build(summary: BuildSummary, console: Console) -> None:
    """Runs that there are of those there could be, and what was not taken: a line for each reason."""
    absent = summary.possible - summary.complete
    if absent or summary.not_taken:
        console.print(
            f"{summary.complete:,} of {summary.possible:,} possible runs are in the store; {absent:,} absent",
            highlight=False,
        )
    if summary.not_taken:
        console.print(rejected_table(summary.not_taken, FEW))
    for text in [*summary.notes, *(f"warning: {warning}" for warning in summary.warnings)]:
        console.print(printable(text), highlight=False, markup=False, soft_wrap=True)


def rejected_table(rejected: Sequence[Rejected], most: int) -> Table:
    """What was not taken, by reason, the rarest first; at most so many paths each."""
    by_reason: dict[str, list[str]] = {}
    for one in rejected:
        by_reason.setdefault(one.reason, []).append(one.path)
    table = Table(title="Not taken from the source", title_justify="left")
    table.add_column("number", justify="right")
    table.add_column("reason", overflow="fold", ratio=2)
    table.add_column("paths", overflow="fold", ratio=3)
    for reason, paths in sorted(by_reason.items(), key=lambda item: len(item[1])):
        shown = [*map(printable, paths[:most]), *(["..."] if len(paths) > most else [])]
        table.add_row(f"{len(paths):,}", escape(printable(reason)), escape("\n".join(shown)))
    return table
