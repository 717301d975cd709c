"""Whom and what the weights of a run have seen, by data set: what tests on new ones must leave out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from simtrain.data.dataset import Dataset
from simtrain.training import lineage


@dataclass(frozen=True)
class Exposure:
    """What weights were trained and validated on, of one data set.

    Ids of subjects, such as 01, are used again by other data sets: they tell of their own alone.

    Attributes
    ----------
    catalog : its name; None: not known, so that it may be any
    trained, seen : ids of the subjects that were trained on; that were trained or validated on
    scenes : movie -> hashes of its clips and their sets
    """

    catalog: str | None
    trained: frozenset[str]
    seen: frozenset[str]
    scenes: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, known: lineage.Record) -> Self:
        """That of a training on a store, of which a run keeps a record."""
        trained, seen = lineage.subjects_in(known, "train"), lineage.subjects_in(known, "train", "val")
        scenes = {movie: frozenset([one]) for movie, one in known.get("scenes", {}).items()}
        return cls(known["catalog_name"], frozenset(trained), frozenset(seen), scenes)

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Self:
        """What `as_json` gives."""
        scenes = {movie: frozenset(hashes) for movie, hashes in found["scenes"].items()}
        return cls(found["catalog"], frozenset(found["trained"]), frozenset(found["seen"]), scenes)

    @property
    def as_json(self) -> dict[str, Any]:
        """For a record."""
        scenes = {movie: sorted(hashes) for movie, hashes in self.scenes.items()}
        return {
            "catalog": self.catalog,
            "trained": sorted(self.trained),
            "seen": sorted(self.seen),
            "scenes": scenes,
        }


def of_data_set(training: Sequence[Exposure], dataset: Dataset) -> list[Exposure]:
    """What a training has seen of the data set of a store: by its catalog's name, where that is known to it.

    Else it may be the same under another name: what has a movie of the same name counts, and what tells no
    data set at all.
    """
    name, movies = dataset.identity["catalog_name"], dataset.identity["scenes"].keys()
    named = [one for one in training if one.catalog == name]
    return named or [one for one in training if one.catalog is None or one.scenes.keys() & movies]


def together(found: Iterable[Exposure]) -> Exposure:
    """All of them as one, whatever data set they are of."""
    every: Sequence[Exposure] = list(found)
    movies = dict.fromkeys(movie for one in every for movie in one.scenes)
    return Exposure(
        None,
        frozenset().union(*(one.trained for one in every)),
        frozenset().union(*(one.seen for one in every)),
        {movie: frozenset().union(*(one.scenes.get(movie, ()) for one in every)) for movie in movies},
    )
