"""How a model is put to the retrieval test."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from simdata.common.errors import UserError
from simtrain.common.choices import must_be_at_least, must_be_one_of
from simtrain.retrieval.metrics import chosen

NEGATIVES = ("same-movie", "other-clips", "same-clip", "nearest", "cross-movie")  # `simtrain.retrieval.pools`
HEMISPHERES = ("mean", "each", "L", "R")
WHOLE_MOVIE = "movie"


@dataclass(frozen=True)
class Protocol:
    """``clips`` windows are tested in each of ``draws`` draws, each against a pool of candidates.

    Attributes
    ----------
    pool : number of candidates, the true one included, or "movie": all of the tested window's movie
    lag : s from stimulus to BOLD
    negatives : one of ``NEGATIVES``
    average_subjects : test the mean of the subjects' embeddings of the same window
    average_windows : test means over that many consecutive seconds of one film clip
    shuffle : control: every clip gets another's stimulus
    hemispheres : what is tested of a window: the mean of its hemispheres' embeddings, each of them by itself
        against windows of its own hemisphere, as published, or one alone
    gap : s between a tested window and a negative of its movie, at least; None: 3, or what a window covers if
        that is more
    metrics : beside the standard ones (`simtrain.retrieval.metrics`); they change no rank

    Raises
    ------
    UserError
        If a part is out of its range, or the parts contradict each other.
    """

    pool: int | Literal["movie"] = 32
    clips: int = 100
    draws: int = 10
    lag: int = field(kw_only=True)  # as trained, which only the run knows
    negatives: str = NEGATIVES[0]
    shuffle: bool = False
    seed: int = 0
    average_subjects: bool = False
    average_windows: int = 1
    hemispheres: str = HEMISPHERES[0]
    gap: int | None = None
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._must_be_in_range()
        chosen(self.metrics)
        if self.whole_movie and self.negatives != "same-movie":
            raise UserError(
                f"`pool` movie with `negatives` {self.negatives}: the pool is the tested window's own movie; "
                "leave `negatives` out, or give `pool` a number"
            )

    def _must_be_in_range(self) -> None:
        if isinstance(self.pool, str) and not self.whole_movie:
            raise UserError(f"pool: {self.pool!r} is neither a number of candidates nor {WHOLE_MOVIE!r}")
        least = {"clips": 1, "draws": 2, "lag": 0, "seed": 0, "average_windows": 1}
        for name, smallest in {**({} if self.whole_movie else {"pool": 2}), **least}.items():
            must_be_at_least(name, getattr(self, name), smallest)
        if self.gap is not None:
            must_be_at_least("gap", self.gap, 1)
        must_be_one_of("negatives", self.negatives, NEGATIVES)
        must_be_one_of("hemispheres", self.hemispheres, HEMISPHERES)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the ranks: name of a parameter -> its value."""
        return {name: getattr(self, name) for name in SETTINGS}

    @property
    def pool_negatives(self) -> int | None:
        """How many stand against the true one; None: all that there are."""
        return self.pool - 1 if isinstance(self.pool, int) else None

    @property
    def whole_movie(self) -> bool:
        return self.pool == WHOLE_MOVIE

    def __str__(self) -> str:
        pool = "pool of the whole movie" if self.whole_movie else f"pool of {self.pool}"
        negatives = "" if self.whole_movie else f", {self.negatives} negatives"
        seconds = f", mean of {self.average_windows} s" if self.average_windows > 1 else ""
        subjects = ", mean of subjects" if self.average_subjects else ""
        shuffled = ", stimulus shuffled" if self.shuffle else ""
        sides = {"mean": "mean of hemispheres", "each": "each hemisphere"}
        unit = sides.get(self.hemispheres, f"hemisphere {self.hemispheres}")
        apart = "" if self.gap is None else f", gap of {self.gap} s"
        return f"{pool}{negatives}{apart}, lag {self.lag} s, {unit}{seconds}{subjects}{shuffled}"


SETTINGS = tuple(one.name for one in fields(Protocol) if one.name != "metrics")
