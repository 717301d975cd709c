"""Parameters that are one of a few names, or no less than a number."""

from __future__ import annotations

from collections.abc import Collection

from simdata.common.errors import UserError


def must_be_one_of(parameter: str, value: object, known: Collection[str]) -> None:
    """Refuse a value that is not among ``known``.

    Raises
    ------
    UserError
        If it isn't: the message names the parameter and lists what is known.
    """
    if value not in known:
        raise UserError(f"{parameter}: {value!r} is not one of {', '.join(known)}")


def must_be_at_least(parameter: str, value: int, smallest: int) -> None:
    """Refuse a number below ``smallest``.

    Raises
    ------
    UserError
        If it is: the message names the parameter.
    """
    if value < smallest:
        raise UserError(f"{parameter}: {value} is less than {smallest}")
