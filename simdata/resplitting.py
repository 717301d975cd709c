"""`simdata resplit`: a store's own subjects and scenes divided otherwise, without a conversion."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from simdata.common.faults import of_store
from simdata.release.splits import NO_SPLIT, SPLITS
from simdata.release.splits_files import SplitsLike, load_splits, name_of, place_of
from simdata.store.axes import check_axes
from simdata.store.history import HISTORY, lengthened
from simdata.store.lock import exclusive
from simdata.store.notes import absent_notes, empty_notes
from simdata.store.opening import open_store
from simdata.store.revision import replace_tables
from simdata.store.schema import scene_flags
from simdata.store.splitting import Sets, divided

TABLES = ("subject_split", "scene_split")


@dataclass(frozen=True)
class ResplitSummary:
    """What a store's sets are now.

    Attributes
    ----------
    subjects, seconds : set -> how many subjects of the store, and how many seconds of its films
    changed : whether they were others before
    warnings : subjects that are listed and not in the store, and sets that are empty
    """

    subjects: dict[str, int]
    seconds: dict[str, int]
    changed: bool
    warnings: list[str] = field(default_factory=list, repr=False)


def resplit(store: Path, splits: SplitsLike) -> ResplitSummary:
    """Divide the subjects and scenes of a store by other splits; a part that they leave out stays.

    All who read the store see the old sets or the new ones, also if this is killed.

    Raises
    ------
    UserError
        If ``splits`` are not valid or not for this store's catalog, or the store is being written to.
    """
    given, name = load_splits(splits), name_of(splits)
    with of_store(store), exclusive(store) as staging:
        dataset = open_store(store)
        check_axes(dataset, store, TABLES)
        sets = divided(dataset, store, given, place_of(splits))
        summary = _summary(dataset, sets)
        known = dataset.simdata.metadata.splits
        kept = {"name": name, **sets.splits.as_json()}
        if summary.changed or known != kept:
            attributes = {HISTORY: lengthened(dataset.attrs, f"resplit --splits {name}")}
            replace_tables(store, staging, _tables(dataset, sets), {"splits": kept}, attributes)
    return summary


def _tables(dataset: xr.Dataset, sets: Sets) -> dict[str, xr.Variable]:
    """The store's own two tables with other values."""
    subjects = dataset.subject_split
    tables = xr.Variable(subjects.dims, sets.subjects, subjects.attrs), scene_flags(sets.scenes)
    return dict(zip(TABLES, tables, strict=True))


def _summary(dataset: xr.Dataset, sets: Sets) -> ResplitSummary:
    tables = _tables(dataset, sets)
    subjects = dataset.subject.values.tolist()
    return ResplitSummary(
        {split: int((sets.subjects == split).sum()) for split in (*SPLITS, NO_SPLIT)},
        {split: int((sets.scenes == code).sum()) for code, split in enumerate(SPLITS, start=1)},
        any(not np.array_equal(dataset[name].values, table.values) for name, table in tables.items()),
        absent_notes(sets.splits, subjects, "the store") + empty_notes(sets.splits, dataset.assign(tables)),
    )
