"""Whether features are still those that a run was trained on.

A run keeps a hash of the features of each movie, and of each row a few random projections. Features that
another machine worked out again differ in their last digits, and are the same; those of another film, another
order of rows or another file are not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from simtrain.data.dataset import Embedding

FILE = "features.npz"
PROJECTIONS = 4
# A row is another if its projections differ by more than these shares of the spread of the movie's rows, and
# of their size. Encoders in half precision differ from machine to machine by less than the first.
SPREAD, SIZE = 0.05, 1e-5


class Description(TypedDict):
    """The fingerprint of the features of an embedding, as JSON.

    Attributes
    ----------
    made : as `Embedding` has it
    features : how many
    values : movie -> hash of its rows
    """

    made: str
    features: int
    values: dict[str, str]


def describe(embedding: Embedding, movies: Sequence[str]) -> Description:
    """What `changed_rows` needs of features beside their sketches, as JSON; of movies that have some."""
    values = dict(zip(movies, embedding.values, strict=True))
    return {
        "made": embedding.made,
        "features": embedding.values.shape[-1],
        "values": {movie: _digest(rows) for movie, rows in values.items() if np.isfinite(rows).any()},
    }


def write_sketches(folder: Path, embeddings: Iterable[Embedding], movies: Sequence[str]) -> None:
    """Write the projections of all rows of ``embeddings``, and what they were projected on."""
    arrays = {}
    for embedding in embeddings:
        features = embedding.values.shape[-1]
        axes = np.random.default_rng(0).standard_normal((features, PROJECTIONS)) / np.sqrt(features)
        arrays[f"{embedding.variable} axes"] = axes
        for movie, rows in zip(movies, embedding.values, strict=True):
            arrays[f"{embedding.variable} {movie}"] = rows @ axes
    np.savez(folder / FILE, **arrays)


def changed_rows(
    folder: Path, known: Description, embedding: Embedding, movies: Sequence[str]
) -> dict[str, int]:
    """Movies with rows that are not those of the training, and how many rows.

    Parameters
    ----------
    folder : of the run
    known : what `describe` gave then, with as many features as now
    """
    changed: dict[str, int] = {}
    of_movie = dict(zip(movies, embedding.values, strict=True))
    differ = [
        movie
        for movie, digest in known["values"].items()
        if movie in of_movie and _digest(of_movie[movie]) != digest
    ]
    if not differ or not (folder / FILE).exists():
        return dict.fromkeys(differ, 0)
    with np.load(folder / FILE) as sketches:
        axes = sketches[f"{embedding.variable} axes"]
        for movie in differ:
            if count := _others(sketches[f"{embedding.variable} {movie}"], of_movie[movie] @ axes):
                changed[movie] = count
    return changed


def other_gaps(folder: Path, used: Iterable[str], embedding: Embedding, movies: Sequence[str]) -> list[str]:
    """The ``used`` movies in which other rows are missing now than then."""
    of_movie = dict(zip(movies, embedding.values, strict=True))
    nothing = np.empty((0, PROJECTIONS))
    with np.load(folder / FILE) as sketches:
        then = {movie: _present(sketches[f"{embedding.variable} {movie}"]) for movie in used}
    now = {movie: _present(of_movie.get(movie, nothing)) for movie in then}
    return [movie for movie in then if not np.array_equal(then[movie], now[movie])]


def _others(then: np.ndarray, now: np.ndarray) -> int:
    """How many of the rows that both have differ by more than rounding."""
    length = min(len(then), len(now))
    then, now = then[:length], now[:length]
    both = np.isfinite(then).all(axis=1) & np.isfinite(now).all(axis=1)
    then, now = then[both], now[both]
    if not len(then):
        return 0
    spread = np.sqrt(then.var(axis=0).mean())
    size = np.sqrt(np.square(then).mean())
    distance = np.sqrt(np.square(then - now).mean(axis=1))
    return int((distance > SPREAD * spread + SIZE * size).sum())


def _present(rows: np.ndarray) -> np.ndarray:
    """(seconds to the last row that is there,) bool."""
    there = np.isfinite(rows).all(axis=1)
    return there[: len(there) - np.argmax(there[::-1])] if there.any() else there[:0]


def _digest(rows: np.ndarray) -> str:
    """The hash of the rows of a movie, up to the last that is there: a store may have room for more."""
    return hashlib.sha256(np.ascontiguousarray(rows[: len(_present(rows))]).tobytes()).hexdigest()
