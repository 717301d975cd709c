"""Compressed and remote stores: the chunks that a batch needs are fetched at once and decoded in threads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import NamedTuple

import numpy as np

from simdata.store.chunk_codecs import decode_chunk
from simdata.store.layout import Layout
from simdata.store.mapped import MAPS
from simdata.store.objects import Bytes, Objects, Range
from simdata.store.shard_index import extents_of, parse_index


class _Chunk(NamedTuple):
    """A chunk: of which run, and its number in that."""

    subject: int
    movie: int
    hemisphere: int
    number: int


class _Part(NamedTuple):
    """Seconds of a chunk, and where in the batch they belong."""

    target: np.ndarray
    seconds: slice


class ChunkReader:
    """Reads windows of an array chunk by chunk; a chunk that several windows share is decoded once.

    Parameters
    ----------
    threads : that decode
    """

    def __init__(self, objects: Objects, layout: Layout, threads: int) -> None:
        self._objects, self._layout, self._threads = objects, layout, threads
        self._pool = ThreadPoolExecutor(threads, "simdata-decode") if threads > 1 else None
        self._indexes: dict[str, np.ndarray | None] = {}
        self._lock = Lock()

    def read(self, index: np.ndarray, frames: int, out: np.ndarray) -> None:
        """See `BoldReader.read`; ``index`` lies within the array and ``out`` is contiguous."""
        chunks = self._parts_of_chunks(index, frames, out)
        ranges = self._locate(list(chunks))
        for chunk in chunks.keys() - ranges.keys():
            self._fill(chunks[chunk])
        fetched = self._objects.fetch(list(ranges.values()))
        work = list(zip(fetched, (chunks[chunk] for chunk in ranges), strict=True))
        if self._pool is None:
            self._decode_all(work)
        else:  # a share for each thread: a task for each chunk would cost as much as to decode it
            list(self._pool.map(self._decode_all, [work[n :: self._threads] for n in range(self._threads)]))

    def _parts_of_chunks(self, index: np.ndarray, frames: int, out: np.ndarray) -> dict[_Chunk, list[_Part]]:
        """What of each chunk goes where."""
        length = self._layout.seconds
        chunks: dict[_Chunk, list[_Part]] = defaultdict(list)
        for window, (subject, movie, first, hemisphere) in zip(out, index.tolist(), strict=True):
            for number in range(first // length, -(-(first + frames) // length)):
                begin = number * length
                start, stop = max(first, begin), min(first + frames, begin + length)
                part = _Part(window[start - first : stop - first], slice(start - begin, stop - begin))
                chunks[_Chunk(subject, movie, hemisphere, number)].append(part)
        return chunks

    def _locate(self, chunks: Sequence[_Chunk]) -> dict[_Chunk, Range]:
        """Where the chunks lie that are there; one that is an object of its own may turn out to be absent."""
        layout = self._layout
        chunks_per_block = layout.chunks_per_object[2]
        keys = [
            layout.key(chunk.subject, chunk.movie, chunk.number // chunks_per_block, chunk.hemisphere)
            for chunk in chunks
        ]
        if layout.index is None:
            return {chunk: Range(key) for chunk, key in zip(chunks, keys, strict=True)}
        indexes = self._known_indexes(keys)
        ranges = {}
        for chunk, key in zip(chunks, keys, strict=True):
            if (index := indexes[key]) is None:
                continue
            extents = extents_of(index, chunk.subject, chunk.movie, chunk.hemisphere)
            offset, length = (int(column[chunk.number % chunks_per_block]) for column in extents)
            if offset >= 0:
                ranges[chunk] = Range(key, offset, length)
        return ranges

    def _known_indexes(self, keys: Sequence[str]) -> dict[str, np.ndarray | None]:
        """Indexes of shards, which are read once."""
        with self._lock:
            known = {key: self._indexes[key] for key in dict.fromkeys(keys) if key in self._indexes}
        unknown = [key for key in dict.fromkeys(keys) if key not in known]
        if unknown:
            raw = self._objects.indexes(unknown)
            read = {
                key: None if found is None else parse_index(found, self._layout, key)
                for key, found in zip(unknown, raw, strict=True)
            }
            known |= read
            with self._lock:
                self._indexes |= read
                for key in list(self._indexes)[: max(0, len(self._indexes) - MAPS)]:
                    del self._indexes[key]
        return known

    def _decode_all(self, work: Sequence[tuple[Bytes, list[_Part]]]) -> None:
        for data, parts in work:
            self._decode(data, parts)

    def _decode(self, data: Bytes, parts: Sequence[_Part]) -> None:
        found = data()
        if found is None:
            self._fill(parts)
            return
        layout = self._layout
        whole = next((part.target for part in parts if len(part.target) == layout.seconds), None)
        if whole is None:
            whole = np.empty((layout.seconds, layout.shape[4]), layout.dtype)
        decode_chunk(found, layout, whole)
        for target, seconds in parts:
            if target is not whole:
                target[...] = whole[seconds]

    def _fill(self, parts: Sequence[_Part]) -> None:
        for part in parts:
            part.target[...] = self._layout.fill
