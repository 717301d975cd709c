"""JSON as every reader of it takes it: numbers that are not finite are null, and files are whole."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def dumps(content: Any, **options: Any) -> str:
    """JSON as `json.dumps` writes it, but null for NaN and infinities, which JSON does not have."""
    return json.dumps(plain(content), allow_nan=False, **options)


def write(path: Path, content: Any) -> None:
    """Replace ``path`` by ``content``, indented; a crash leaves the one before."""
    write_whole(path, dumps(content, indent=2) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Replace the text in ``path``; a crash leaves the one before."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def plain(content: Any) -> Any:
    """The same in dicts, lists and finite numbers; None in place of numbers that are not finite."""
    if isinstance(content, Mapping):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
