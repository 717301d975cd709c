"""Top-1 of the paper's tables, as far as it is known to us or to the user."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from simdata.common.pydantic_faults import validate
from simdata.common.yaml_text import parse_yaml, read_text

ANY = "any"  # in place of a direction that is not told
Percent = Annotated[float, Field(ge=0, le=100)]


class Number(NamedTuple):
    """Top-1 in percent, and where it is from."""

    top1: float
    source: str


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    source: str
    tables: dict[str, dict[str, dict[str, Percent]]]  # table, row, direction


class PublishedNumbers:
    """Ours, and on top of them those of a file of the user.

    Raises
    ------
    UserError
        If the file is not of the form of `published_numbers.yaml`.
    """

    def __init__(self, file: Path | None = None) -> None:
        own = files(__package__).joinpath("published_numbers.yaml").read_text()
        read = [_read(own, "published_numbers.yaml")]
        if file is not None:
            read.append(_read(read_text(file), str(file)))
        self._numbers = {
            (table, row, direction): Number(top1, one.source)
            for one in read
            for table, rows in one.tables.items()
            for row, directions in rows.items()
            for direction, top1 in directions.items()
        }

    def find(self, table: str, row: str, direction: str) -> Number | None:
        """The number of a direction, or of one that is not told; None if it is not known."""
        return self._numbers.get((table, row, direction)) or self._numbers.get((table, row, ANY))


def _read(text: str, origin: str) -> _File:
    return validate(_File, parse_yaml(text, origin) or {}, f"{origin} is no file of published numbers")
