"""What a catalog says of when its films were shown (``plays``): a rule, events, or a table of its own."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from simdata.release.patterns import check_below
from simdata.release.values import Number, Strict

LONGEST = 86_400.0  # s, of a scan and of a film: a day
FROM_SCAN_START = "start"  # the rule of a catalog without one

Time = Annotated[Number, Field(ge=0, le=LONGEST)]
Length = Annotated[Number, Field(gt=0, le=LONGEST)]


class PlayRule(Strict):
    """From scan time ``onset`` on, film time ``film_start`` on was shown, for ``duration`` (s)."""

    onset: Time = 0.0
    film_start: Time = 0.0
    duration: Length | None = None


def _values(found: Any) -> Any:
    """The values of a column that are taken, as texts."""
    listed = found if isinstance(found, list) else [found]
    if not listed or not all(isinstance(one, str | int) and not isinstance(one, bool) for one in listed):
        raise ValueError(f"must be a value of the column or a list of them, not {found!r:.60}")
    return [str(one) for one in listed]


class Events(Strict):
    """Rows of BIDS events: those with given values in columns, such as ``trial_type: film``.

    Attributes
    ----------
    movie : column that names the movie or its file; without it a scan shows the movie that its own name says
    film_start : column of film time (s), and what has none is no film; without it a row is the film from its
        beginning
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[list[str], BeforeValidator(_values)]]

    movie: str | None = None
    film_start: str | None = None

    @property
    def wanted(self) -> dict[str, list[str]]:
        """Column -> the values that a row of a film has there, one of them."""
        return self.__pydantic_extra__ or {}


class Plays(Strict):
    """One of: a rule for all movies, tables of events, a table."""

    onset: Time = 0.0
    film_start: Time = 0.0
    duration: Length | None = None
    events: Events | None = None
    table: Annotated[str, AfterValidator(check_below)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Plays:
        ways = [name for name in ("events", "table") if getattr(self, name) is not None]
        timed = [name for name in PlayRule.model_fields if name in self.model_fields_set]
        if len(ways) > 1 or (ways and timed):
            raise ValueError(f"{' and '.join([*ways, *timed])} are given: say it in one way")
        return self

    @property
    def rule(self) -> PlayRule:
        """The rule, where it is neither events nor a table."""
        return PlayRule(onset=self.onset, film_start=self.film_start, duration=self.duration)


def as_plays(given: Any) -> Any:
    """``start`` is the rule that film and scan begin together."""
    return {} if given == FROM_SCAN_START else given


def as_rules(given: Any) -> Any:
    """One rule is a list of one."""
    return [given] if isinstance(given, dict | PlayRule) else given
