"""Nested dictionaries, such as those of configurations and recipes."""

from __future__ import annotations

from typing import Any


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values of a nested dictionary by dotted key."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found
