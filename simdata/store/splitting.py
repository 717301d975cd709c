"""From splits to the sets of the subjects and scenes of a store."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from simdata.common.errors import UserError
from simdata.common.pydantic_faults import validate
from simdata.release.catalog import Catalog, parse
from simdata.release.scene_sets import scene_sets
from simdata.release.splits import NO_SPLIT, PARTS, Splits
from simdata.store.metadata import VARIABLE, Metadata


class Sets(NamedTuple):
    """The sets of a store's subjects and seconds of film.

    Attributes
    ----------
    splits : by which they are divided, both parts
    subjects : (subjects,) str, a name of `SPLITS` or ``NO_SPLIT``
    scenes : (movies, seconds) int8, a position in `SCENES`
    """

    splits: Splits
    subjects: np.ndarray
    scenes: np.ndarray


def divided(store: xr.Dataset, place: str | Path, splits: Splits | None = None, origin: str = "") -> Sets:
    """The sets of an open store by splits, or by its own; a part that they leave out is its own.

    Parameters
    ----------
    place, origin : of the store and of the splits, for messages

    Raises
    ------
    UserError
        If they are not for the store's catalog, or the store has lost that; if they list subjects, and the
        store has none of these.
    """
    whole = (splits or Splits()).over(own_splits(store, place))
    catalog = catalog_of(store, place).with_splits(whole, origin or str(place))
    subjects = store.subject.values.tolist()
    listed = [subject for listed in whole.subjects.lists.values() for subject in listed]
    if splits is not None and listed and not set(listed) & set(subjects):
        raise UserError(f"{origin}: {place} has none of the {len(listed)} subjects that are listed there")
    sets = [whole.subjects.of(subject) or NO_SPLIT for subject in subjects]
    return Sets(whole, np.array(sets, dtype=object), _scenes(store, place, catalog))


def own_splits(store: xr.Dataset, place: str | Path) -> Splits:
    """Those that `simdata resplit` gave a store, or its catalog's."""
    kept = Metadata.of(store, place).splits
    if not kept:
        return catalog_of(store, place).splits
    parts = {name: kept.get(name, {}) for name in PARTS}
    return validate(Splits, parts, f"{place}: the splits in its variable {VARIABLE!r} are damaged")


def catalog_of(store: xr.Dataset, place: str | Path) -> Catalog:
    """The catalog that a store was built from, with the lengths of films that the store has."""
    catalog = parse(Metadata.of(store, place).catalog_text, f"the catalog of {place}")
    if all(movie.has_length for movie in catalog.movies):
        return catalog
    lengths = dict.fromkeys((movie.name for movie in catalog.movies), store.sizes["second"])
    return catalog.with_lengths(lengths | dict(zip(store.movie.values, store.volumes.values, strict=True)))


def _scenes(store: xr.Dataset, place: str | Path, catalog: Catalog) -> np.ndarray:
    """(movies, seconds) int8, of a store that may have a part of the catalog's movies and seconds."""
    rows = {movie.name: row for row, movie in enumerate(catalog.movies)}
    movies, seconds = store.movie.values.tolist(), store.sizes["second"]
    if unknown := [movie for movie in movies if movie not in rows]:
        raise UserError(
            f"{place}: its catalog has no movie {unknown[0]}, so that its scenes cannot be divided"
        )
    table = np.zeros((len(movies), seconds), np.int8)
    of_catalog = scene_sets(catalog)[[rows[movie] for movie in movies], :seconds]
    table[:, : of_catalog.shape[1]] = of_catalog
    return table
