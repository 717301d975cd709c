"""The scalars of a run, as JSON lines and for TensorBoard."""

from __future__ import annotations

import json
import os
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter


class Metrics:
    """Scalars of a run, to ``metrics.jsonl`` (one JSON object a line) and to TensorBoard.

    What an earlier part of the run wrote behind ``step``, and so will be written again, is dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        path = folder / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        # A line without its end was being written when the machine stopped.
        whole = [line for line in lines if line.endswith("\n")]
        kept = path.with_suffix(".tmp")
        kept.write_text("".join(line for line in whole if json.loads(line)["step"] <= step))
        os.replace(kept, path)
        self._file = path.open("a", buffering=1)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> Metrics:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._board.close()

    def write(self, step: int, values: dict[str, float]) -> None:
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)


class NoMetrics:
    """Of a process that writes none, since another does."""

    def __init__(self, folder: Path, step: int) -> None: ...

    def __enter__(self) -> NoMetrics:
        return self

    def __exit__(self, *_: object) -> None: ...

    def write(self, step: int, values: dict[str, float]) -> None: ...
