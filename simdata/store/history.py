"""What programs have done to a store: CF's root attribute ``history``, a line for each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

HISTORY = "history"


def lengthened(attributes: Mapping[str, Any], done: str) -> str:
    """The history of root attributes with a line for what was ``done`` now."""
    line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} simdata {version('simdata')}: {done}"
    earlier = attributes.get(HISTORY)
    return f"{earlier}\n{line}" if earlier else line
