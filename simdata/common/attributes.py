"""Attributes that every format holds: text, numbers and lists of numbers. What has structure is JSON text."""

from __future__ import annotations

import json
import numbers
from collections.abc import Mapping
from typing import Any

from simdata.common.errors import UserError
from simdata.common.json_text import dumps


def flat(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes with JSON text in place of what netCDF cannot hold; equal structures have equal texts.

    It cannot hold dictionaries, and lists of anything else than numbers.
    """
    return {name: value if _is_plain(value) else as_json(value) for name, value in attributes.items()}


def as_json(value: Any) -> str:
    return dumps(value, sort_keys=True, ensure_ascii=False)


def structure(attributes: Mapping[str, Any], name: str, place: str) -> dict[str, Any]:
    """The dictionary whose JSON text an attribute is; empty without it.

    Raises
    ------
    UserError
        If the text is something else; ``place`` says whose attribute it is.
    """
    text = attributes.get(name, "{}")
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        value = None
    if not isinstance(value, dict):
        raise UserError(f"{place}: its attribute {name!r} is damaged, it should be JSON text: {_cut(text)}")
    return value


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(_is_number(item) for item in value)
    return isinstance(value, str) or _is_number(value)


def _is_number(value: Any) -> bool:
    # numpy's numbers are registered as numbers; JSON's true and false netCDF has not.
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _cut(text: Any, length: int = 60) -> str:
    shown = repr(text)
    return shown if len(shown) <= length else f"{shown[:length]}..."
