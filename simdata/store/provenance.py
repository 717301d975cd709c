"""Where each part of the store came from, kept so that a killed build knows what is done.

While a build runs, every finished source is a line of a journal beside the arrays; at its end, however it
ends, the journal moves into the root attribute ``sources``, and after a kill before the next writer begins.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import zarr

from simdata.json_text import dumps, plain
from simdata.sources import Fingerprint
from simdata.store.schema import quiet_zarr

WORK_FOLDER = ".build"


class Provenance:
    """Records of sources by key, such as ``990001/MOVIE1`` for a run and ``film/MOVIE1`` for a film."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._journal = store / WORK_FOLDER / "journal.jsonl"
        self._journal.parent.mkdir(exist_ok=True)
        self._records: dict[str, dict[str, Any]] = dict(zarr.open_group(store, mode="r").attrs["sources"])
        self._records.update(self._read_journal())

    def is_current(self, key: str, path: Path) -> bool:
        """Whether this source was converted and has not changed since."""
        record = self._records.get(key)
        return record is not None and Fingerprint(record["size"], record["mtime_ns"]) == Fingerprint.of(path)

    def record(self, key: str, entry: dict[str, Any]) -> None:
        """Note that a source was converted; survives a kill."""
        entry = self._records[key] = plain(entry)
        with self._journal.open("a") as file:
            file.write(dumps({"key": key, "entry": entry}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Move the journal into the store's attributes."""
        if self._journal.exists():
            with quiet_zarr():
                zarr.open_group(self._store, mode="r+").attrs["sources"] = self._records
                zarr.consolidate_metadata(self._store)
            self._journal.unlink()

    def _read_journal(self) -> dict[str, dict[str, Any]]:
        records = {}
        if self._journal.exists():
            for line in self._journal.read_text().splitlines():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:  # the line that a kill cut short
                    continue
                records[record["key"]] = record["entry"]
        return records
