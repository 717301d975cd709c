"""Telling how far a long job has come."""

from __future__ import annotations

from typing import Protocol

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Progress(Protocol):
    """Who hears how many of something, such as "runs", there are and are done."""

    def start(self, what: str, total: int, done: int) -> None: ...

    def advance(self, what: str) -> None: ...


class Bars:
    """Progress bars on the terminal, by what is done."""

    def __init__(self) -> None:
        self._bars = rich.progress.Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def start(self, what: str, total: int, done: int) -> None:
        self._tasks[what] = self._bars.add_task(what, total=total, completed=done)

    def advance(self, what: str) -> None:
        self._bars.advance(self._tasks[what])
