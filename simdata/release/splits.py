"""Splits: which subjects and which scenes are train, val and test.

They are a part of a catalog, and can be given by themselves: as a file or a name (`load_splits`).
"""

from __future__ import annotations

import hashlib
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from simdata.release.values import Number, Strict, distinct, repeated

if TYPE_CHECKING:
    from simdata.release.catalog import Segment

SPLITS = ("train", "val", "test")
Split = Literal["train", "val", "test"]
NO_SPLIT = "none"  # what a store has for a subject or a second that is in no set
GUARD = "guard"  # and for a second of film that keeps sets apart, and is in none either
SCENES = (NO_SPLIT, *SPLITS, GUARD)  # what a second can be, by its code
REPEAT = "test-retest"
PARTS = ("subjects", "scenes")  # of splits


def _ids(value: Any) -> Any:
    if not isinstance(value, list):
        raise ValueError(f"must be a list of subjects, not {value!r:.60}")
    if wrong := [one for one in value if not isinstance(one, str)]:
        raise ValueError(f'write each id in quotes, such as "{str(wrong[0])[:60]}"')
    return distinct(value)


def _ids_or_fraction(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | list):
        raise ValueError(f"must be a list of subjects or a fraction such as 0.1, not {value!r:.60}")
    return _ids(value) if isinstance(value, list) else float(value)


Subjects = Annotated[list[str] | float, BeforeValidator(_ids_or_fraction)]


class SubjectSplit(Strict):
    """Subjects of the sets: explicit lists, or fractions.

    With fractions a subject's set depends on nothing but its id and the seed, so that it stays
    where it is when more subjects arrive, and two labs with different downloads agree. With lists,
    a subject in none of them is in the training set, or in no set if that is a list too.
    """

    train: Annotated[list[str] | None, BeforeValidator(_ids)] = None
    val: Subjects = Field(default_factory=list)
    test: Subjects = Field(default_factory=list)
    seed: int = 0

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if isinstance(self.val, list) and isinstance(self.test, list):
            for (one, its), (other, others) in combinations(self.lists.items(), 2):
                if both := set(its) & set(others):
                    raise ValueError(f"subjects both in {one} and {other}: {sorted(both)[:5]}")
        elif isinstance(self.val, list) or isinstance(self.test, list):
            raise ValueError("val and test must both be lists of subjects or both fractions")
        elif self.train is not None:
            raise ValueError("with a list of train, val and test must be lists of subjects too")
        elif not (min(self.val, self.test) >= 0 and self.val + self.test < 1):  # not so for NaN
            raise ValueError("fractions must be >= 0 and leave something for train")
        return self

    @property
    def lists(self) -> dict[Split, list[str]]:
        """The sets whose subjects are listed."""
        given: dict[Split, Any] = {"train": self.train, "val": self.val, "test": self.test}
        return {split: listed for split, listed in given.items() if isinstance(listed, list)}

    def of(self, subject: str) -> Split | None:
        """The set that a subject belongs to; None if it is in none of three lists."""
        if isinstance(self.val, list) or isinstance(self.test, list):
            in_no_list: Split | None = "train" if self.train is None else None
            return next((split for split, listed in self.lists.items() if subject in listed), in_no_list)
        digest = hashlib.sha256(f"{self.seed}:{subject}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        return "test" if place < self.test else "val" if place < self.test + self.val else "train"


Fractions = dict[Split, Annotated[tuple[Number, Number], Field(strict=False)]]


class SceneSplit(Strict):
    """Which stretches of film belong to which set; the test-retest clip belongs to none.

    ``clips`` names whole clips, ``clip_fractions`` cuts those that it names by time ([0, 1] is the whole
    clip), ``movies`` names whole movies, and ``fractions`` cuts every other clip: what is named first here
    counts. What none of them names is train. Between film of two sets lie ``guard`` s or more, of rest or of
    film that is in no set (`simdata.release.scene_sets`).
    """

    fractions: Fractions = Field(default_factory=dict)
    clip_fractions: dict[str, Fractions] = Field(default_factory=dict)
    clips: dict[Split, Annotated[list[str], AfterValidator(distinct)]] = Field(default_factory=dict)
    movies: dict[Split, Annotated[list[str], AfterValidator(distinct)]] = Field(default_factory=dict)
    guard: Annotated[int, Field(ge=0, le=86_400)] = 0

    @model_validator(mode="after")
    def _each_second_in_one(self) -> Self:
        _check_fractions("fractions", self.fractions)
        for name, fractions in self.clip_fractions.items():
            _check_fractions(f"clip_fractions.{name}", fractions)
        clips = [*(name for names in self.clips.values() for name in names), *self.clip_fractions]
        if REPEAT in clips:
            raise ValueError(f"clips: {REPEAT} is shown in every run and belongs to no set")
        if twice := repeated(clips):
            raise ValueError(f"clips: {', '.join(twice[:5])} is in two sets, or named and cut too")
        if twice := repeated(name for names in self.movies.values() for name in names):
            raise ValueError(f"movies: {', '.join(twice[:5])} is in two sets")
        if self.guard and not self.named:
            raise ValueError("guard: keeps sets apart, and all scenes are train here")
        return self

    @property
    def named(self) -> set[Split]:
        """The sets that anything is given to."""
        by_clip = (split for fractions in self.clip_fractions.values() for split in fractions)
        return {*self.fractions, *self.clips, *self.movies, *by_clip}

    def of(self, movie: str, segment: Segment, second: int) -> Split | None:
        """The set of one second of a segment, without the guard; None for the test-retest clip."""
        if segment.name == REPEAT:
            return None
        for split, names in self.clips.items():
            if segment.name in names:
                return split
        if segment.name in self.clip_fractions:
            return _cut(self.clip_fractions[segment.name], segment, second)
        for split, names in self.movies.items():
            if movie in names:
                return split
        return _cut(self.fractions, segment, second)


def _check_fractions(key: str, fractions: Fractions) -> None:
    for split, (low, high) in fractions.items():
        if not 0 <= low < high <= 1:
            raise ValueError(
                f"{key}.{split}: [{low:g}, {high:g}] must be [from, to) with 0 <= from < to <= 1"
            )
    ordered = sorted((low, high, split) for split, (low, high) in fractions.items())
    for (_, end, one), (start, _, other) in pairwise(ordered):
        if start < end:
            raise ValueError(f"{key}: {one} and {other} overlap between {start:g} and {end:g}")


def _cut(fractions: Fractions, segment: Segment, second: int) -> Split:
    place = (second - segment.start) / (segment.stop - segment.start)
    within = (split for split, (low, high) in fractions.items() if low <= place < high)
    return next(within, "train")


class Splits(Strict):
    """How subjects and scenes are divided into train, val and test."""

    subjects: SubjectSplit = SubjectSplit()
    scenes: SceneSplit = SceneSplit()

    def over(self, others: Splits) -> Splits:
        """These, and for a part that was not given the ``others``': both parts are given then."""
        return Splits(
            **{name: getattr(self if name in self.model_fields_set else others, name) for name in PARTS}
        )

    def as_json(self) -> dict[str, Any]:
        """What was given, as a file has it."""
        return self.model_dump(mode="json", exclude_unset=True)
