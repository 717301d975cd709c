"""What each table of the paper takes: `tables.yaml`, read and checked."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from simdata.common.yaml_text import parse_yaml
from simtrain.common.choices import must_be_one_of

RIDGE, CHANCE = "ridge", "chance"  # rows that are no trained part
Settings = dict[str, Any]  # key of a configuration -> value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainingPlan(_Strict):
    """A training: ``fit`` or ``pretrain`` names its preset, ``encoder`` the part that it starts from."""

    fit: str | None = None
    pretrain: str | None = None
    encoder: str | None = None
    settings: Settings = Field(default={}, alias="set")


class TablePlan(_Strict):
    """A table: sets, experiment and protocol of its tests, with pools by modality, and its rows.

    Attributes
    ----------
    settings : of all its trainings
    rows : names of parts, ``ridge`` or ``chance``
    """

    title: str
    splits: str
    experiment: str
    protocol: str
    pool: dict[str, int]
    settings: Settings = Field(default={}, alias="set")
    rows: tuple[str, ...]


class Demo(_Strict):
    """What makes a table small: settings of all trainings, and the pool for each division into sets."""

    settings: Settings = Field(alias="set")
    pools: dict[str, int]


class Plan(_Strict):
    """All of `tables.yaml`."""

    parts: dict[str, TrainingPlan]
    tables: dict[str, TablePlan]
    demo: Demo

    @classmethod
    def read(cls) -> Plan:
        """The one that comes with the package."""
        text = files(__package__).joinpath("tables.yaml").read_text()
        return cls.model_validate(parse_yaml(text, "tables.yaml"))

    def table(self, name: str) -> TablePlan:
        """One table; a UserError if there is none of this name."""
        must_be_one_of("table", name, tuple(self.tables))
        return self.tables[name]

    def trained(self, table: TablePlan) -> dict[str, TrainingPlan]:
        """The parts of a table in an order in which encoders come before what starts from them."""
        found: dict[str, TrainingPlan] = {}
        for row in table.rows:
            if row not in self.parts:
                continue
            part = self.parts[row]
            if part.encoder is not None:
                found[part.encoder] = self.parts[part.encoder]
            found[row] = part
        return found
