"""What a user should know of a store that was built without a fault: empty sets, the same content twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr

from simdata.common.hdf5 import INSIDE
from simdata.release.source_records import Record, plays_of
from simdata.release.splits import SPLITS, Splits
from simdata.store.schema import COMPLETE

NAMED = 5  # as many ids stand in a note


def absent_notes(splits: Splits, known: Iterable[str], where: str) -> list[str]:
    """Subjects that are listed and not ``known``, in words; ``where`` they should be."""
    here = set(known)
    absent = {
        split: [subject for subject in listed if subject not in here]
        for split, listed in splits.subjects.lists.items()
    }
    return [
        f"splits.subjects.{split} has {_named(ids)}, which {where} does not have"
        for split, ids in absent.items()
        if ids
    ]


def empty_notes(splits: Splits, store: xr.Dataset) -> list[str]:
    """Sets that splits name and that are empty in a store."""
    subjects, split = store.subject.values, store.subject_split.values
    with_runs = set(subjects[(store.run_status.values == COMPLETE).any(axis=1)].tolist())
    notes = [
        f"splits.subjects.{name}: no subject with a run in the store is in it: the set is empty"
        for name in SPLITS
        if getattr(splits.subjects, name) and not with_runs & set(subjects[split == name].tolist())
    ]
    for code, name in enumerate(SPLITS, start=1):
        if name in splits.scenes.named and not (store.scene_split.values == code).any():
            why = f" with a guard of {splits.scenes.guard} s" if splits.scenes.guard else ""
            notes.append(f"splits.scenes: no second of a clip is in {name}{why}: the set is empty")
    return notes


def repeated_notes(records: Mapping[str, Record]) -> list[str]:
    """Sources whose content is the same to the bit, by the hashes of their first files and their plays."""
    by_hash: dict[tuple[str, str, str], list[str]] = {}
    for key, record in records.items():
        if record["sha256"]:
            inside = record["path"].partition(INSIDE)[2]
            by_hash.setdefault((record["sha256"], inside, str(plays_of(record))), []).append(key)
    return [
        f"{', '.join(keys[:NAMED])} were made of files with the same content; is each what its name says?"
        for keys in by_hash.values()
        if len(keys) > 1
    ]


def complete_runs(store: xr.Dataset) -> list[str]:
    """Keys of the runs in a store."""
    places = np.argwhere(store.run_status.values == COMPLETE).tolist()
    subjects, movies = store.subject.values, store.movie.values
    return [f"{subjects[subject]}/{movies[movie]}" for subject, movie in places]


def gone_note(store: xr.Dataset, found: Iterable[str], source: str) -> list[str]:
    """Runs that are in the store and not in the source any more."""
    here = set(found)
    gone = [key for key in complete_runs(store) if key not in here]
    return [f"{_named(gone)} of the store are not in {source} as the catalog says; they stay"] if gone else []


def _named(ids: list[str]) -> str:
    more = f" and {len(ids) - NAMED:,} more" if len(ids) > NAMED else ""
    return ", ".join(ids[:NAMED]) + more
