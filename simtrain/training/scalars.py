"""The scalars of a run, as JSON lines and for TensorBoard."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from simdata.common import json_text

FILE = "metrics.jsonl"
Report = Callable[[int, dict[str, float]], object]  # of a step and its scalars


class Metrics:
    """Scalars of a run, to ``metrics.jsonl`` (one JSON object a line) and to TensorBoard.

    A value that is not finite is null. What an earlier part of the run wrote behind ``step``, and so will be
    written again, is dropped. ``report`` is told of all that is written.
    """

    def __init__(self, folder: Path, step: int, report: Report | None = None) -> None:
        path, self._report = folder / FILE, report
        kept = [record for record in records(folder) if record["step"] <= step]
        json_text.write_whole(path, "".join(json_text.dumps(record) + "\n" for record in kept))
        self._file = path.open("a", buffering=1)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> Metrics:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._board.close()

    def write(self, step: int, values: dict[str, float]) -> None:
        self._file.write(json_text.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        if self._report is not None:
            self._report(step, values)

    def settle(self) -> None:
        """What was written is on the disk: a checkpoint that follows is never ahead of it."""
        self._file.flush()
        os.fsync(self._file.fileno())


class NoMetrics:
    """The metrics of a process that writes none, since another does."""

    def __init__(self, folder: Path, step: int, report: Report | None = None) -> None: ...

    def __enter__(self) -> NoMetrics:
        return self

    def __exit__(self, *_: object) -> None: ...

    def write(self, step: int, values: dict[str, float]) -> None: ...

    def settle(self) -> None: ...


def records(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of a run's ``metrics.jsonl``, in their order; none if there is no such file yet."""
    path = folder / FILE
    lines = path.read_text(errors="replace").splitlines(keepends=True) if path.exists() else []
    return [record for record in map(_parsed, lines) if record is not None]


def _parsed(line: str) -> dict[str, Any] | None:
    """What a line holds; None if it is not whole, as one that was being written at a power cut."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return None
    return record if line.endswith("\n") and isinstance(record, dict) and "step" in record else None
