"""What catalogs and splits are made of, as pydantic checks it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Strict(BaseModel):
    """Keys are known and values of their type, or pydantic's error says which are not."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def repeated(names: Iterable[str]) -> list[str]:
    """Those that are there more than once."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def distinct(names: list[str]) -> list[str]:
    """The names, or a ValueError if one is there twice."""
    if twice := repeated(names):
        raise ValueError(f"listed twice: {', '.join(twice[:5])}")
    return names


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"Input should be a valid number (it is {value!r:.60})")
    return value


Number = Annotated[float, BeforeValidator(_number), Field(strict=False, allow_inf_nan=False)]
