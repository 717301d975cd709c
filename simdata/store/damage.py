"""What of a store's files is gone, cut short or not to be decoded.

xarray and zarr take a file that is not there for values that are missing, and an axis whose labels are gone
for zeros and empty names: nobody would see that a copy of a store is not whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from simdata.common.errors import DamagedStore
from simdata.common.faults import in_words
from simdata.store.arrays import array_of, values_of
from simdata.store.layout import Layout, read_layout
from simdata.store.metadata import VARIABLE
from simdata.store.schema import COMPLETE

STATISTICS = ("bold_mean", "bold_std")
ARRAYS = ("bold", *STATISTICS, "cortex", "sphere", "faces", "frame", "waveform", "run_source", VARIABLE)
LABELS = ("subject", "movie")
ADVICE = "the store is damaged: copy it again, or build it again"

Run = tuple[int, int]  # positions of subject and movie


def check_readable(dataset: xr.Dataset, place: str | Path, names: Iterable[str]) -> None:
    """Raise a DamagedStore unless ``names`` and the coordinates can be read.

    These and the arrays of any store must have metadata. The values stay in memory: all are small but
    ``bold``, which is not read. Embeddings may be without: a writer settles what a killed one left of them.
    """
    needed = list(dict.fromkeys([*dataset.coords, *names]))
    for name in (*needed, *(name for name in ARRAYS if name in dataset and name not in needed)):
        check_metadata(place, str(name))
    for name in needed:
        try:
            if name != "bold":
                dataset[name].load()
        except Exception as error:  # codecs raise what they like
            raise DamagedStore(f"{place}: its {name} cannot be read ({in_words(error)}); {ADVICE}") from error
    for name in LABELS:
        if "" in dataset[name].values:
            raise DamagedStore(f"{place}: its {name} has empty labels; {ADVICE}")


def check_metadata(place: str | Path, name: str) -> None:
    """Raise a DamagedStore unless an array's own metadata are there, in a store that is a folder.

    xarray goes by the copies in the root's.
    """
    if not Path(place).is_dir():
        return
    try:
        json.loads((Path(place) / name / "zarr.json").read_text())["shape"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedStore(
            f"{place}: {name}/zarr.json cannot be read ({in_words(error)}); {ADVICE}"
        ) from None


def check_runs(place: str | Path) -> None:
    """Raise a DamagedStore if a file of a complete run is gone or cut short, in a store that is a folder."""
    if Path(place).is_dir() and (lost := lost_runs(Path(place), zarr.open_group(place, mode="r"))):
        more = f", and {len(lost) - 1} more runs are not whole" if len(lost) > 1 else ""
        raise DamagedStore(
            f"{place}: {next(iter(lost.values()))} is gone or cut short{more}; copy the store again, or let "
            "`simdata build` convert again what is not whole"
        )


def lost_runs(store: Path, group: zarr.Group) -> dict[Run, str]:
    """Complete runs of which a file is gone or cut short, with the first such file's path below the store."""
    layout = read_layout(array_of(group, "bold"))
    if layout is None or "volumes" not in group:
        return {}
    lost, ends = dict[Run, str](), _ends(group)
    for subject, movie in np.argwhere(values_of(group, "run_status") == COMPLETE).tolist():
        ends_at = int(ends[subject, movie])
        files = [*_objects(layout, subject, movie, ends_at), *_statistics(group, subject, movie)]
        for name, least in files:
            file = store / name
            if not file.is_file() or file.stat().st_size < least:
                lost[subject, movie] = name
                break
    return lost


def _ends(group: zarr.Group) -> np.ndarray:
    """(subject, movie) int: the second behind the last row of each run."""
    volumes = np.broadcast_to(values_of(group, "volumes"), array_of(group, "run_status").shape)
    if "run" not in group:  # format 2.0
        return volumes
    there = values_of(group, "run") != 0
    ends = there.shape[2] - np.argmax(there[:, :, ::-1], axis=2)
    return np.where(there.any(axis=2), ends, 0)


def _objects(layout: Layout, subject: int, movie: int, end: int) -> Iterator[tuple[str, int]]:
    """The files of a run's BOLD, and how many bytes each has at least."""
    seconds = min(end, layout.shape[2])
    least = seconds * layout.plain_bytes + layout.index_bytes if layout.is_as_built else 1
    for block in range(-(-seconds // layout.object_shape[2])):
        for hemisphere in range(layout.shape[3]):
            yield f"bold/{layout.key(subject, movie, block, hemisphere)}", least


def _statistics(group: zarr.Group, subject: int, movie: int) -> Iterator[tuple[str, int]]:
    for name in STATISTICS:
        array: Any = group.get(name)  # a selection may do without
        if isinstance(array, zarr.Array) and array.chunks[:2] == (1, 1) and array.shards is None:
            position = (subject, movie, *(0 for _ in array.shape[2:]))
            yield f"{name}/{array.metadata.encode_chunk_key(position)}", 1
