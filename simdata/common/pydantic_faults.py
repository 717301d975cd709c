"""Faults that pydantic finds, in a user's words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from simdata.common.errors import UserError

SCALARS = (bool, int, float, date)
LISTED = 20  # as many faults stand in a message
LONGEST = 60  # characters of a value in it

Model = TypeVar("Model", bound=BaseModel)


def validate(model: type[Model], data: Any, what: str) -> Model:
    """``data`` as ``model``; ``what`` says what is wrong, such as "mine.yaml is not a valid catalog".

    Raises
    ------
    UserError
        If keys are unknown, missing or of the wrong type; every fault is listed with its key.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = [f"  {_key(fault['loc'])}: {_reason(fault)}" for fault in error.errors(include_url=False)]
        if len(faults) > LISTED:
            faults = [*faults[:LISTED], f"  and {len(faults) - LISTED:,} more"]
        raise UserError("\n".join([f"{what}:", *faults])) from None


def key_values(pairs: Sequence[str], what: str, example: str) -> dict[str, str]:
    """``key=value`` texts as a dictionary; ``what`` says of what they are.

    Raises
    ------
    UserError
        If one has no ``=``, or a key is there twice.
    """
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise UserError(f"{what}: {wrong[0]!r} is not key=value, such as {example}")
    keys = [pair.split("=", 1)[0] for pair in pairs]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise UserError(f"{what}: {twice[0]} is given {keys.count(twice[0])} times; give it once")
    return dict(pair.split("=", 1) for pair in pairs)


def _key(location: tuple[int | str, ...]) -> str:
    # <...> is which of several forms a value has.
    named = [part for part in location if not (isinstance(part, str) and part.startswith("<"))]
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in named)
    return text.lstrip(".") or "(top level)"


def _reason(fault: ErrorDetails) -> str:
    if fault["type"] == "extra_forbidden":
        return "unknown key"
    if fault["type"] == "missing":
        return "missing"
    given = fault["input"]
    if fault["type"] == "string_type" and isinstance(given, SCALARS):
        return f'{fault["msg"]}: write it in quotes, "{_short(given)}"'
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] != "value_error" and isinstance(given, int | float | str):
        return f"{message} (it is {_short(given)!r})"
    return message


def _short(value: Any) -> Any:
    """A value as it may stand in a message."""
    if isinstance(value, int) and abs(value) >= 10**LONGEST:
        return "a number of many digits"
    return value if isinstance(value, SCALARS) else str(value)[:LONGEST]
