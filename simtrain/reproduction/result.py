"""A reproduced table: our figures beside the published ones, on the terminal, as markdown, CSV and JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from rich.console import Console
from rich.table import Table

from simdata.common import json_text
from simtrain.reproduction.plan import CHANCE, TablePlan
from simtrain.reproduction.published_numbers import Number, PublishedNumbers
from simtrain.retrieval.report import narrow_table

UNKNOWN = "not known to us"


class Cell(NamedTuple):
    """Top-1 in percent of a row in one direction, such as ``fmri->video``; None where there is none.

    ``sd`` is over rows of the test (a subject, a movie and a hemisphere), ``low`` and ``high`` bound the 95 %
    interval for other subjects and film clips, None where there are few.
    """

    row: str
    direction: str
    top1: float
    sd: float | None
    low: float | None
    high: float | None
    published: float | None
    source: str | None


class Reproduction:
    """What `simtrain.reproduce` returns.

    Attributes
    ----------
    table : its name
    cells : our figures beside the published ones
    tests : name of a row -> folder of its test
    """

    def __init__(
        self,
        name: str,
        plan: TablePlan,
        tests: dict[str, Path],
        published: PublishedNumbers,
        asked: dict[str, Any],
    ) -> None:
        self.table, self.tests, self._plan, self._asked = name, tests, plan, asked
        self.cells = [
            cell for row in plan.rows for cell in _cells(name, row, plan.experiment, tests, published)
        ]

    @property
    def metrics(self) -> pd.DataFrame:
        """A row for each row and direction; the columns are those of `Cell`, NaN for what is not known."""
        numbers = ("top1", "sd", "low", "high", "published")
        return pd.DataFrame(self.cells).astype(dict.fromkeys(numbers, float))

    @property
    def markdown(self) -> str:
        """The table, and below it what it is and where the published numbers are from."""
        lines = ["| " + " | ".join(HEADINGS) + " |", "| --- |" + " --- |" * (len(HEADINGS) - 1)]
        lines += ["| " + " | ".join(_shown(cell)) + " |" for cell in self.cells]
        return "\n".join([f"Table {self.table}, {self._plan.title}", "", *lines, "", *self._notes, ""])

    def show(self, console: Console) -> None:
        """Print it."""
        table: Table = narrow_table(f"Table {self.table}: {self._plan.title}", " ".join(self._notes))
        for place, heading in enumerate(HEADINGS):
            table.add_column(heading, justify="left" if place < 2 else "right")
        for cell in self.cells:
            table.add_row(*_shown(cell))
        console.print(table)

    def save(self, folder: Path) -> None:
        """Write table-NAME.md, .csv and .json."""
        place = folder / f"table-{self.table}"
        json_text.write_whole(place.with_suffix(".md"), self.markdown)
        with place.with_suffix(".csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(Cell._fields)
            writer.writerows(self.cells)
        tests = {row: str(path.relative_to(folder)) for row, path in self.tests.items()}
        cells = [cell._asdict() for cell in self.cells]
        content = {"table": self.table, **self._asked, "tests": tests, "cells": cells}
        json_text.write(place.with_suffix(".json"), content)

    @property
    def _notes(self) -> Sequence[str]:
        """What it is, in sentences."""
        test = self._asked["test"]
        notes = [
            f"Top-1 in percent ± s.d. over rows [95 % interval for other subjects and clips]; test: {test}."
        ]
        if self._asked["demo"]:
            notes.append("Demo size: it shows that the path works; no figure compares with another.")
        sources = dict.fromkeys(cell.source for cell in self.cells if cell.source)
        return [*notes, *(f"Published numbers: {source}." for source in sources)]

    def __repr__(self) -> str:
        return f"<Reproduction of table {self.table}: {', '.join(self._plan.rows)}>"


HEADINGS = ("row", "direction", "ours, top-1 %", "published")


def _cells(
    table: str, row: str, experiment: str, tests: dict[str, Path], published: PublishedNumbers
) -> list[Cell]:
    if row == CHANCE:
        return _chance(table, experiment, tests, published)
    found = _tested(tests[row], experiment)["directions"]
    return [
        _cell(table, row, direction, figures["top-1"], published)
        for direction, figures in found.items()
        if direction.startswith("fmri->")
    ]


def _chance(table: str, experiment: str, tests: dict[str, Path], published: PublishedNumbers) -> list[Cell]:
    """1 / pool in each direction, of all rows together."""
    cells = {}
    for folder in tests.values():
        for direction, figures in _tested(folder, experiment)["directions"].items():
            if direction.startswith("fmri->"):
                top1 = figures["top-1"]
                only = {"mean": top1.get("nominal", top1["chance"])}  # what older tests called chance
                cells[direction] = _cell(table, CHANCE, direction, only, published)
    return list(cells.values())


def _cell(table: str, row: str, direction: str, figures: dict[str, Any], published: PublishedNumbers) -> Cell:
    low, high = figures.get("interval") or (None, None)
    ours = [None if one is None else 100 * one for one in (figures.get("sd_over_rows"), low, high)]
    known: Number | None = published.find(table, row, direction)
    return Cell(row, direction, 100 * figures["mean"], *ours, *(known or (None, None)))


def _tested(folder: Path, experiment: str) -> dict[str, Any]:
    content = json.loads((folder / "retrieval.json").read_text())
    found: dict[str, Any] = content["experiments"][experiment]
    return found


def _shown(cell: Cell) -> tuple[str, str, str, str]:
    ours = f"{cell.top1:.1f}"
    if cell.sd is not None:
        ours += f" ± {cell.sd:.1f}"
    if cell.low is not None and cell.high is not None:
        ours += f" [{cell.low:.1f} to {cell.high:.1f}]"
    return cell.row, cell.direction, ours, UNKNOWN if cell.published is None else f"{cell.published:.1f}"
