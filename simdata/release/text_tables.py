"""Tables that users and BIDS trees have: tab-separated text with a header, in bounded time and memory."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from simdata.common.errors import UserError
from simdata.common.fetched import check_content

LARGEST = 50_000_000  # bytes
NOT_GIVEN = ("", "n/a")


@dataclass(frozen=True)
class Line:
    """A line of a table, and where it is, for messages."""

    place: str
    cells: dict[str, str]

    def text(self, column: str) -> str:
        """What a column says; empty where it says nothing."""
        found = self.cells.get(column, "")
        return "" if found in NOT_GIVEN else found

    def seconds(self, column: str, least: float = 0.0) -> float | None:
        """Seconds that a column says, at ``least``; None where it says nothing.

        Raises
        ------
        UserError
            If it says something else.
        """
        if not (text := self.text(column)):
            return None
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if not (math.isfinite(found) and least <= found <= 86_400):
            raise UserError(f"{self.place}: {column} is {text[:40]!r}; seconds from {least:g} on are needed")
        return found


def read_table(path: Path, needed: Collection[str]) -> Iterator[Line]:
    """The lines of a tab-separated table, whose first one names the columns.

    Raises
    ------
    UserError
        If it cannot be read, is no such table, or lacks one of the ``needed`` columns.
    """
    check_content(path)
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path}: is larger than {LARGEST // 10**6} MB, which no such table is")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            header = [name.strip() for name in next(lines, [])]
            _check_header(path, header, needed)
            for number, cells in enumerate(lines, start=2):
                if len(cells) not in (0, len(header)):
                    raise UserError(
                        f"{path}, line {number}: has {len(cells)} columns, the header has {len(header)}; "
                        "columns are separated by tabs"
                    )
                if any(cell.strip() for cell in cells):
                    stripped = [cell.strip() for cell in cells]
                    yield Line(f"{path}, line {number}", dict(zip(header, stripped, strict=True)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: is no table in UTF-8 with tabs between columns ({error})") from None


def _check_header(path: Path, header: list[str], needed: Collection[str]) -> None:
    shown = ", ".join(header)[:200] or "nothing"
    if missing := [name for name in needed if name not in header]:
        raise UserError(f"{path}: has no column {missing[0]!r}; its first line has {shown} (tabs between)")
    if len(set(header)) < len(header):
        raise UserError(f"{path}: has a column twice; its first line has {shown}")
