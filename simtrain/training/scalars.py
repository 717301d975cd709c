"""The scalars of a run, as JSON lines and for TensorBoard."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from simdata.common import json_text


class Metrics:
    """Scalars of a run, to ``metrics.jsonl`` (one JSON object a line) and to TensorBoard.

    A value that is not finite is null. What an earlier part of the run wrote behind ``step``, and so will be
    written again, is dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        path = folder / "metrics.jsonl"
        lines = path.read_text(errors="replace").splitlines(keepends=True) if path.exists() else []
        found = [_parsed(line) for line in lines]
        kept = [record for record in found if record is not None and record["step"] <= step]
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

    def settle(self) -> None:
        """What was written is on the disk: a checkpoint that follows is never ahead of it."""
        self._file.flush()
        os.fsync(self._file.fileno())


class NoMetrics:
    """Of a process that writes none, since another does."""

    def __init__(self, folder: Path, step: int) -> None: ...

    def __enter__(self) -> NoMetrics:
        return self

    def __exit__(self, *_: object) -> None: ...

    def write(self, step: int, values: dict[str, float]) -> None: ...

    def settle(self) -> None: ...


def _parsed(line: str) -> dict[str, Any] | None:
    """What a line holds; None if it is not whole, as one that was being written at a power cut."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return None
    return record if line.endswith("\n") and isinstance(record, dict) and "step" in record else None
