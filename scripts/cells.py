"""Cells of a comparison that takes hours: each is kept as JSON, so that what was done is not done again."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from simdata.common import json_text


def once(file: Path, work: Callable[[], Any]) -> Any:
    """What a file holds; if there is none, the result of the work, which it holds then."""
    if not file.exists():
        print(file.stem, file=sys.stderr, flush=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        json_text.write(file, work())
    return json.loads(file.read_text())


def numbers(text: str) -> list[int]:
    """Those of an option such as ``--seeds 0,1,2``."""
    return [int(number) for number in text.split(",")]


def spread(values: Sequence[float], digits: int = 1, sign: str = "") -> str:
    """Mean, and the s.d. if there are several; ``sign`` "+" is shown of a mean above 0 too."""
    shown = f"{statistics.mean(values):{sign}.{digits}f}"
    return f"{shown} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else shown


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])
