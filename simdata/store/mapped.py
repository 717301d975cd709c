"""Uncompressed stores on local disks: windows are copied out of memory maps.

Each run has a table with the address of every second's values in memory, whatever the order of chunks in its
shards, so a window is a loop of copies. What is absent has the address of a row of fill values.
"""

from __future__ import annotations

import resource
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simdata.common.errors import DamagedStore
from simdata.common.remembered import remembering
from simdata.store.file_memory import ask_for, copy_rows, gather_addresses, map_file
from simdata.store.layout import Layout
from simdata.store.shard_index import Extents, extents_of, parse_index

MAPS = 16_384  # well under Linux's default of 65,530 maps a process
OBJECTS_PER_RUN = 16  # with more, mapping them costs more than reading what is wanted
AHEAD = 256  # rows that are being read while one is copied: 10 MB of int8
PATIENCE = 16  # batches without a read from disk, after which all is taken to be in memory
ROWS_PER_THREAD = 16  # fewer are not worth a thread
THREAD = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)


class _Run(NamedTuple):
    table: int  # where the addresses of its seconds begin in memory
    addresses: np.ndarray
    maps: list[np.ndarray]


class MappedReader:
    """Reads windows of an array whose ``layout.is_plain``.

    Chunks are not compared with their checksums: that would cost more than the copy.

    Parameters
    ----------
    folder : of the array
    threads : that copy
    """

    def __init__(self, folder: Path, layout: Layout, threads: int) -> None:
        self._folder, self._layout = folder, layout
        self._absent = np.full(layout.shape[4], layout.fill, layout.dtype)
        self._run = remembering(self._map_run, max(1, MAPS // layout.objects_per_run))
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "simdata-read") if threads > 1 else None
        self._cold = PATIENCE

    def read(self, index: np.ndarray, frames: int, out: np.ndarray) -> None:
        """See `BoldReader.read`; ``index`` lies within the array and ``out`` is contiguous."""
        runs = [self._run(*run) for run in index[:, [0, 1, 3]].tolist()]
        tables = np.array([run.table for run in runs], np.int64)
        rows = gather_addresses(tables, np.ascontiguousarray(index[:, 2]), frames)
        target, size = out.ctypes.data, self._layout.row_bytes
        parts = max(1, min(self._threads, len(rows) // ROWS_PER_THREAD))
        if self._pool is None or parts == 1:
            self._copy(rows, target)
            return
        bounds = np.linspace(0, len(rows), parts + 1).astype(int).tolist()
        cuts = [(rows[start:stop], target + start * size) for start, stop in pairwise(bounds)]
        copying = [self._pool.submit(self._copy, *cut) for cut in cuts]
        try:
            for part in copying:
                part.result()
        finally:  # an interrupt must not free ``out``, or a run's maps, under those who copy
            wait(copying)

    def _copy(self, rows: np.ndarray, target: int) -> None:
        """Copy, and note whether it came to reading from disk."""
        before = _disk_reads()
        copy_rows(rows, self._layout.row_bytes, target, AHEAD if self._cold else 0)
        self._cold = PATIENCE if _disk_reads() > before else max(0, self._cold - 1)

    def _map_run(self, subject: int, movie: int, hemisphere: int) -> _Run:
        layout = self._layout
        chunks = layout.chunks_per_object[2]
        addresses = np.full((layout.objects_per_run, chunks, layout.seconds), self._absent.ctypes.data)
        maps = []
        for block, of_block in enumerate(addresses):
            path = self._folder / layout.key(subject, movie, block, hemisphere)
            try:
                file = map_file(path)
            except FileNotFoundError:
                continue
            maps.append(file)
            offset, _ = self._extents(file, path, subject, movie, hemisphere)
            seconds = np.arange(layout.seconds) * layout.row_bytes
            present = offset >= 0
            of_block[present] = file.ctypes.data + offset[present, None] + seconds
        flat = addresses.ravel()
        return _Run(flat.ctypes.data, flat, maps)

    def _extents(self, file: np.ndarray, path: Path, subject: int, movie: int, hemisphere: int) -> Extents:
        """Where chunks lie in a file; all that is in there is of the right length."""
        layout = self._layout
        if layout.index is None:
            extents = Extents(np.zeros(1, np.int64), np.array([len(file)]))
        else:
            raw = index_bytes(file, layout)
            extents = extents_of(parse_index(raw, layout, str(path)), subject, movie, hemisphere)
        offset, length = extents
        present = offset >= 0
        if (length[present] != layout.plain_bytes).any() or (length > len(file) - offset).any():
            raise DamagedStore(f"{path}: a chunk is not as long as it must be; the store is damaged")
        return extents


def index_bytes(file: np.ndarray, layout: Layout) -> bytes:
    """The index of a mapped shard."""
    assert layout.index is not None, "only shards have an index"
    size = min(layout.index_bytes, len(file))
    index = file[:size] if layout.index.location == "start" else file[len(file) - size :]
    ask_for(index.ctypes.data, size)  # a page fault would read megabytes around it
    return index.tobytes()


def _disk_reads() -> int:
    """What this thread has had to wait for: blocks that it read, and page faults that did."""
    usage = resource.getrusage(THREAD)
    return usage.ru_inblock + usage.ru_majflt
