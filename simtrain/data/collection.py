"""Several stores as one: the one place in which many data sets become one to train on.

Subjects of all stores stand one behind another along the axis of subjects, and movies along that of movies.
A run is of a subject and a movie of the same store; all other cells are absent. What the trainer asks of a
store (windows, sets, embeddings, BOLD) it so asks of a collection, by positions along the longer axes. Only
what must not mix asks which store a subject or movie is of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import xarray as xr

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.config.resolved import Resolved
from simtrain.data.dataset import Dataset, Embedding, Identity, digest


class ReadsWindows(Protocol):
    """What feeds read windows with: `simdata.store.BoldReader`, or that of a collection."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self, index: np.ndarray, frames: int, out: np.ndarray | None = None) -> np.ndarray:
        """As `simdata.store.BoldReader.read`."""
        ...


@dataclass(frozen=True, repr=False)
class Collection(Dataset):
    """Stores that are trained on together.

    The ``view`` is empty, and ``cortex`` is what is cortex in all of them.

    Attributes
    ----------
    parts : the stores
    names : of the stores, all different
    """

    parts: tuple[Dataset, ...] = ()
    names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Collection({', '.join(map(repr, self.parts))})"

    @cached_property
    def parcels(self) -> list[str]:
        """Their names, the same in all stores; none in stores of vertices."""
        return self.parts[0].parcels

    def embeddings(self, config: Resolved) -> dict[str, Embedding]:
        """As of a store, of a configuration that was resolved on all parts (`simtrain.data.agreement`)."""
        found = self.parts[0].embeddings(config)
        return {modality: self.embedding(one.variable) for modality, one in found.items()}

    def _read(self, variable: str) -> Embedding:
        own = [part.embedding(variable) for part in self.parts]
        values = _stacked([one.values for one in own], np.float32(np.nan))
        return Embedding(variable, values, own[0].window, own[0].made)


def joined(stores: Sequence[Dataset]) -> Dataset:
    """The only store, or a collection of several.

    Raises
    ------
    UserError
        If they cannot be one: other meshes or types of BOLD, no cortex in common, one store twice, or a
        subject or movie of one data set in other sets here than there.
    """
    if len(stores) == 1:
        return stores[0]
    names = distinct_names(stores)
    _must_be_alike(stores)
    _must_not_leak(stores)
    cortex, movies = np.logical_and.reduce([one.cortex for one in stores]), _firsts(_movies(stores))
    if not cortex.any(axis=1).all():
        raise UserError(f"{_listed(stores)} have no vertex in common that is cortex in all of them")
    return Collection(
        path=_listed(stores),
        subjects=[f"{name}/{one}" for name, part in zip(names, stores, strict=True) for one in part.subjects],
        subject_split=np.concatenate([one.subject_split for one in stores]),
        volumes=np.concatenate([one.volumes for one in stores]),
        complete=_blocks([one.complete for one in stores]),
        run=_blocks([one.run for one in stores]),
        reach=np.concatenate([one.reach for one in stores]),
        film=np.concatenate([one.film + first for one, first in zip(stores, movies, strict=True)]),
        segment=_stacked([one.segment for one in stores], 0),
        scene_split=_stacked([one.scene_split for one in stores], 0),
        cortex=cortex,
        lag=stores[0].lag,
        encoders={},
        identity=_identity(stores, names, cortex),
        view=xr.Dataset(),
        parts=tuple(stores),
        names=names,
    )


def parts_of(dataset: Dataset) -> tuple[Dataset, ...]:
    """The stores of a collection, or the store itself alone."""
    return dataset.parts if isinstance(dataset, Collection) else (dataset,)


def store_of_movies(dataset: Dataset) -> np.ndarray | None:
    """(movies,) int, which of the stores a movie is of; None if there is but one."""
    return _owners(_movies(dataset.parts)) if isinstance(dataset, Collection) else None


def by_store(samples: np.ndarray, dataset: Dataset) -> list[np.ndarray]:
    """The samples (SAMPLE or WINDOW) of each store, in their order."""
    if not isinstance(dataset, Collection):
        return [samples]
    owner = _owners([len(one.subjects) for one in dataset.parts])[samples["subject"]]
    return [samples[owner == number] for number in range(len(dataset.parts))]


def run_in(dataset: Dataset, subject: int, movie: int) -> tuple[int, int, int]:
    """Which store a run of a collection is of, and the positions of its subject and movie there."""
    parts, number = parts_of(dataset), 0
    while subject >= len(parts[number].subjects):
        subject, movie = subject - len(parts[number].subjects), movie - len(parts[number].movies)
        number += 1
    return number, subject, movie


def whole_table(tables: Sequence[np.ndarray]) -> np.ndarray:
    """(subjects, movies) bool of all stores, from that of each; False where subject and movie are of two."""
    return tables[0] if len(tables) == 1 else _blocks(tables)


def open_reader(dataset: Dataset) -> ReadsWindows:
    """What reads the BOLD of a store, or of a collection by its positions."""
    return _Reader(dataset) if isinstance(dataset, Collection) else BoldReader(dataset.path)


def distinct_names(stores: Sequence[Dataset]) -> tuple[str, ...]:
    """Those of their catalogs, and with -2, -3, ... from the second of a catalog on."""
    found: list[str] = []
    for one in stores:
        name, number = str(one.identity["catalog_name"]), 1
        while (distinct := name if number == 1 else f"{name}-{number}") in found:
            number += 1
        found.append(distinct)
    return tuple(found)


class _Reader:
    """Windows of a collection, each from its own store."""

    def __init__(self, dataset: Collection) -> None:
        self._readers = [BoldReader(part.path) for part in dataset.parts]
        shapes = np.array([reader.shape for reader in self._readers])
        subjects, movies, seconds, hemispheres, vertices = shapes.T
        self.shape: tuple[int, ...] = (
            int(subjects.sum()),
            int(movies.sum()),
            int(seconds.max()),
            int(hemispheres[0]),
            int(vertices[0]),
        )
        self.dtype: np.dtype = self._readers[0].dtype
        self._owner = _owners(subjects.tolist())
        zero = np.zeros_like(subjects)
        self._first = np.stack([_firsts(subjects), _firsts(movies), zero, zero], axis=1)

    def read(self, index: np.ndarray, frames: int, out: np.ndarray | None = None) -> np.ndarray:
        index = np.asarray(index, np.int64).reshape(-1, 4)
        if out is None:
            out = np.empty((len(index), frames, self.shape[4]), self.dtype)
        owner = self._owner[index[:, 0]]
        for number in np.unique(owner).tolist():
            own, reader = owner == number, self._readers[number]
            if own.all():
                return reader.read(index - self._first[number], frames, out)
            out[own] = reader.read(index[own] - self._first[number], frames)
        return out


def _movies(stores: Sequence[Dataset]) -> np.ndarray:
    """(stores,) int: how many movies each has."""
    return np.array([len(one.movies) for one in stores])


def _owners(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """(sum of counts,) int: of which store each position along a joint axis is."""
    return np.repeat(np.arange(len(counts)), counts)


def _firsts(counts: np.ndarray) -> np.ndarray:
    """(stores,) int: where each store begins along a joint axis."""
    return np.cumsum(counts) - counts


def _blocks(tables: Sequence[np.ndarray]) -> np.ndarray:
    """(subjects, movies, ...) with each store's table where both are its own, 0 elsewhere."""
    subjects, movies = (sum(table.shape[axis] for table in tables) for axis in (0, 1))
    rest = np.max([table.shape[2:] for table in tables], axis=0).astype(int)
    found = np.zeros((subjects, movies, *rest), tables[0].dtype)
    subject = movie = 0
    for table in tables:
        here = tuple(slice(0, size) for size in table.shape[2:])
        found[(slice(subject, subject + len(table)), slice(movie, movie + table.shape[1]), *here)] = table
        subject, movie = subject + len(table), movie + table.shape[1]
    return found


def _stacked(tables: Sequence[np.ndarray], fill: float | np.number) -> np.ndarray:
    """(movies, seconds, ...) of all stores; ``fill`` behind the seconds of the shorter ones."""
    longest = max(table.shape[1] for table in tables)
    rest = [((0, 0),) * (table.ndim - 2) for table in tables]
    return np.concatenate(
        [
            np.pad(table, ((0, 0), (0, longest - table.shape[1]), *more), constant_values=fill)
            for table, more in zip(tables, rest, strict=True)
        ]
    )


def _identity(stores: Sequence[Dataset], names: Sequence[str], cortex: np.ndarray) -> Identity:
    known = [one.identity for one in stores]
    named = list(zip(names, known, strict=True))
    return {
        "path": _listed(stores),
        "format_version": known[0]["format_version"],
        "catalog_name": ", ".join(one["catalog_name"] for one in known),
        "catalog_sha256": digest("".join(one["catalog_sha256"] for one in known).encode()),
        "subjects": {f"{name}/{key}": of for name, one in named for key, of in one["subjects"].items()},
        "runs": sum(one["runs"] for one in known),
        "cortex": digest(np.packbits(cortex).tobytes()),
        "scenes": {f"{name}/{key}": of for name, one in named for key, of in one["scenes"].items()},
    }


def _listed(stores: Sequence[Dataset]) -> str:
    *before, last = (str(one.path) for one in stores)
    return f"{', '.join(before)} and {last}"


def _must_be_alike(stores: Sequence[Dataset]) -> None:
    """Refuse what no batch could hold, or no model see as one."""
    path, times = Counter(_real(one.path) for one in stores).most_common(1)[0]
    if times > 1:
        raise UserError(f"{path} is given {times} times: give each store once")
    facts = {
        "mesh": [_mesh(one) for one in stores],
        "BOLD type": [str(one.view.bold.encoding.get("dtype", one.view.bold.dtype)) for one in stores],
    }
    for fact, values in facts.items():
        if len(set(values)) > 1:
            told = ", ".join(f"{value} in {one.path}" for value, one in zip(values, stores, strict=True))
            raise UserError(
                f"one model cannot be trained on stores that differ in {fact}: {told}; build them alike"
            )


def _mesh(store: Dataset) -> str:
    if (parcels := store.identity.get("parcels")) is not None:
        return f"{len(store.parcels)} parcels (names {parcels[:8]})"
    return f"{store.cortex.shape[1]} vertices"


def _real(path: str | Path) -> str:
    return str(path.resolve()) if isinstance(path, Path) else path


def _must_not_leak(stores: Sequence[Dataset]) -> None:
    """Refuse two stores of a data set (``catalog_name``) that do not have the same sets."""
    for one, other in _pairs(stores):
        if one.identity["catalog_name"] != other.identity["catalog_name"]:
            continue
        for what, axis in (("subject", "subjects"), ("the scenes of", "scenes")):
            here, there = one.identity[axis], other.identity[axis]  # type: ignore[literal-required]
            if differ := [name for name, of in here.items() if _apart(of, there.get(name, of))]:
                more = f" and {len(differ) - 1} more" if len(differ) > 1 else ""
                raise UserError(
                    f"{one.path} and {other.path} are of one data set, and have {what} {differ[0]}{more} in "
                    "other sets: what one tests, the other would train on; give both the same `splits`"
                )


def _apart(here: str, there: str) -> bool:
    """Whether two stores have something in two sets; what is in none here, may be in any there."""
    return here != there and "none" not in (here, there)


def _pairs(stores: Sequence[Dataset]) -> Iterator[tuple[Dataset, Dataset]]:
    return ((one, other) for number, one in enumerate(stores) for other in stores[number + 1 :])
