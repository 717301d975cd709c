"""Where each part of the store came from, kept so that a killed build knows what is done.

A record is JSON text in ``run_source`` or ``film_source``, at the place of its run or film, so that a
selection of the store has the records of what it holds. While a build runs, every finished source is a line
of a journal beside the arrays; at its end, however it ends, the journal moves into the arrays, and after a
kill before the next writer begins.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from simdata.common.attributes import as_json
from simdata.common.checksum import sha256
from simdata.common.errors import UserError
from simdata.common.json_text import dumps, plain
from simdata.release.source_records import (
    Fingerprint,
    Record,
    files_of,
    fingerprints,
    plays_of,
    source_record,
)
from simdata.release.sources import Film, Run
from simdata.store.arrays import array_of, values_of

WORK_FOLDER = ".build"
RUNS, FILMS = "run_source", "film_source"


class Provenance:
    """Records of sources by key, such as ``990001/MOVIE1`` for a run and ``film/MOVIE1`` for a film."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._journal = store / WORK_FOLDER / "journal.jsonl"
        self._journal.parent.mkdir(exist_ok=True)
        with xr.open_zarr(store, chunks=None) as dataset:
            self._records = records(dataset, store)
        self._records.update(self._read_journal())

    def is_current(self, source: Run | Film) -> bool:
        """Whether this source was converted and has not changed since.

        A file of another name is another source, unless it has the same content.
        """
        record = self._records.get(source.key)
        if record is None:
            return False
        here, known = fingerprints(source), files_of(record)
        if [Fingerprint(file["size"], file["mtime_ns"]) for file in known] != list(here.values()):
            return False
        moved = source_record(source, here, {})
        if plays_of(moved) != plays_of(record):
            return False
        if [file["path"] for file in known] == list(here):
            return True
        if not all(file["sha256"] for file in known):
            return False
        digests = {relative: sha256(path) for relative, path in source.inputs.items()}
        if [file["sha256"] for file in known] != list(digests.values()):
            return False
        if isinstance(source, Run):  # embeddings hold the records of their films
            self.record(source.key, {**record, **source_record(source, here, digests)})
        return True

    def record(self, key: str, entry: Record) -> None:
        """Note that a source was converted; survives a kill."""
        entry = self._records[key] = plain(entry)
        with self._journal.open("a") as file:
            file.write(dumps({"key": key, "entry": entry}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Move the journal into the store's arrays."""
        if journal := self._read_journal():
            group = zarr.open_group(self._store, mode="r+")
            movies, subjects = values_of(group, "movie").tolist(), values_of(group, "subject").tolist()
            runs = [[f"{subject}/{movie}" for movie in movies] for subject in subjects]
            _add(array_of(group, RUNS), runs, journal)
            _add(array_of(group, FILMS), [f"film/{movie}" for movie in movies], journal)
        self._journal.unlink(missing_ok=True)

    def _read_journal(self) -> dict[str, Record]:
        found = {}
        if self._journal.exists():
            for line in self._journal.read_text().splitlines():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:  # the line that a kill cut short
                    continue
                found[record["key"]] = record["entry"]
        return found


def _add(table: zarr.Array, keys: list[Any], new: dict[str, Record]) -> None:
    """Write those records whose keys are an array's; a chunk that has none of them stays as it is."""
    of_place = np.array(keys, object).reshape(table.shape)
    length = table.chunks[0]
    for start in range(0, len(of_place), length):
        of_chunk = of_place[start : start + length]
        if any(key in new for key in of_chunk.flat):
            texts = np.asarray(table[start : start + length]).astype(object)
            for place, key in np.ndenumerate(of_chunk):
                if key in new:
                    texts[place] = as_json(new[key])
            table[start : start + length] = texts


def records(dataset: xr.Dataset, place: str | Path) -> dict[str, Record]:
    """All records of a store by key; ``place`` says which store, in messages.

    Raises
    ------
    UserError
        If it has lost them, or one is damaged.
    """
    return run_records(dataset, place) | dict(_stored(dataset, FILMS, place))


def run_records(dataset: xr.Dataset, place: str | Path) -> dict[str, Record]:
    """The `records` of runs alone."""
    return dict(_stored(dataset, RUNS, place))


def film_record(dataset: xr.Dataset, movie: str) -> Record | None:
    """The record of the film of a movie; None if it is not in the store."""
    return dict(_stored(dataset.sel(movie=[movie]), FILMS, "the store")).get(f"film/{movie}")


def _stored(dataset: xr.Dataset, name: str, place: str | Path) -> Iterator[tuple[str, Record]]:
    if name not in dataset:
        raise UserError(
            f"{place}: has no variable {name!r}, which says what files it was made of; build it again"
        )
    array = dataset[name]
    owners = array.subject.values.tolist() if "subject" in array.dims else ["film"]
    movies = array.movie.values.tolist()
    texts = array.transpose(..., "movie").values.reshape(len(owners), len(movies))
    for (row, column), text in np.ndenumerate(texts.astype(object)):
        if text:
            key = f"{owners[row]}/{movies[column]}"
            yield key, _parsed(text, f"{place}: {name} of {key}")


def _parsed(text: str, place: str) -> Record:
    try:
        record = json.loads(text)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise UserError(
            f"{place} is damaged ({text[:60]!r}): set it to '' and build again, which converts it anew"
        )
    return record
