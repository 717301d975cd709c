"""Telling how far a long job has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

Callback = Callable[[str, int, int], object]  # hears what, how many are done, how many there are


@runtime_checkable
class Progress(Protocol):
    """Who hears how many of something, such as "runs", there are and are done."""

    def start(self, what: str, total: int, done: int) -> None: ...

    def advance(self, what: str) -> None: ...


def as_progress(progress: Progress | Callback | None) -> Progress:
    """What a caller gives: None is silence, a function is called with (what, done, total)."""
    if progress is None:
        return Silence()
    return progress if isinstance(progress, Progress) else Calls(progress)


class Silence:
    """Nobody is told."""

    def start(self, what: str, total: int, done: int) -> None:
        pass

    def advance(self, what: str) -> None:
        pass


class Calls:
    """Calls a function at the start and after every one."""

    def __init__(self, callback: Callback) -> None:
        self._callback = callback
        self._state: dict[str, tuple[int, int]] = {}

    def start(self, what: str, total: int, done: int) -> None:
        self._tell(what, done, total)

    def advance(self, what: str) -> None:
        done, total = self._state[what]
        self._tell(what, done + 1, total)

    def _tell(self, what: str, done: int, total: int) -> None:
        self._state[what] = done, total
        self._callback(what, done, total)


class Bars:
    """Progress bars on the terminal, by what is done."""

    def __init__(self) -> None:
        import rich.progress as bars  # only who wants bars waits for it
        from rich.console import Console

        self._bars = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TimeElapsedColumn(),
            bars.TextColumn("ETA"),
            bars.TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, bars.TaskID] = {}

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def start(self, what: str, total: int, done: int) -> None:
        self._tasks[what] = self._bars.add_task(what, total=total, completed=done)

    def advance(self, what: str) -> None:
        self._bars.advance(self._tasks[what])
