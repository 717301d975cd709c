"""The JSON files of a run folder, read back: what they hold, or one message."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simdata.common.errors import UserError


def read(file: Path, keys: Sequence[str] = ()) -> dict[str, Any]:
    """What a file holds by name, ``keys`` at least.

    Raises
    ------
    UserError
        If it is missing or damaged.
    """
    content = _content(file)
    if not isinstance(content, dict) or set(keys) - content.keys():
        raise damaged(file)
    return content


def read_list(file: Path) -> list[Any]:
    """What a file lists; nothing if there is no such file.

    Raises
    ------
    UserError
        If it is damaged.
    """
    content = _content(file) if file.exists() else []
    if not isinstance(content, list):
        raise damaged(file)
    return content


def _content(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        raise damaged(file) from None


def damaged(file: Path) -> UserError:
    """What to say of a record that cannot be read."""
    return UserError(f"{file} is missing or damaged: take it from a copy of the run")
