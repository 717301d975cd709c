"""Faults that pydantic finds, in a user's words."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from simdata.errors import UserError

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
        faults = "\n".join(f"  {_key(fault['loc'])}: {_reason(fault)}" for fault in error.errors())
        raise UserError(f"{what}:\n{faults}") from None


def _key(location: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.lstrip(".") or "(top level)"


def _reason(fault: dict[str, Any]) -> str:
    if fault["type"] == "extra_forbidden":
        return "unknown key"
    if fault["type"] == "missing":
        return "missing"
    return fault["msg"].removeprefix("Value error, ")
