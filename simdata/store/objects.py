"""How the bytes of stored objects come: from files, or from other stores by concurrent range reads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from zarr.abc.store import ByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import StorePath

from simdata.store.file_memory import ask_for, map_file
from simdata.store.layout import Layout
from simdata.store.mapped import MAPS, index_bytes

GAP = 2**20  # bytes: what lies between two ranges is read along if it is less (as object_store does)
LARGEST = 16 * 2**20  # bytes of one request, unless one chunk is more
REQUESTS = 32  # at the same time

Bytes = Callable[[], np.ndarray | None]  # called once, by any thread; (n,) uint8, None if there is no object


class Range(NamedTuple):
    """Bytes of an object; all of it if ``length`` is None."""

    key: str
    offset: int = 0
    length: int | None = None


class Objects(Protocol):
    """Where an array's objects are. Both methods may be called by several threads."""

    def indexes(self, keys: Sequence[str]) -> list[bytes | None]:
        """Index of each shard, None where there is no such shard."""

    def fetch(self, ranges: Sequence[Range]) -> list[Bytes]:
        """Begin to read, all at once; the bytes are had by calling."""


class LocalObjects:
    """Files below a folder: shards are mapped, chunks that are files of their own are read."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._folder, self._layout = folder, layout
        self._map = lru_cache(MAPS)(lambda key: map_file(folder / key))

    def indexes(self, keys: Sequence[str]) -> list[bytes | None]:
        return [self._index(key) for key in keys]

    def _index(self, key: str) -> bytes | None:
        try:
            return index_bytes(self._map(key), self._layout)
        except FileNotFoundError:
            return None

    def fetch(self, ranges: Sequence[Range]) -> list[Bytes]:
        return [self._begin(wanted) for wanted in ranges]

    def _begin(self, wanted: Range) -> Bytes:
        if wanted.length is None:
            return self._open(self._folder / wanted.key)
        part = self._map(wanted.key)[wanted.offset : wanted.offset + wanted.length]
        ask_for(part.ctypes.data, len(part))
        return lambda: part

    def _open(self, path: Path) -> Bytes:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return lambda: None
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)
        return lambda: np.fromfile(path, np.uint8)


class RemoteObjects:
    """Keys of any zarr store. Ranges near each other become one request, requests run concurrently."""

    def __init__(self, root: StorePath, layout: Layout) -> None:
        self._root, self._layout = root, layout

    def indexes(self, keys: Sequence[str]) -> list[bytes | None]:
        index, size = self._layout.index, self._layout.index_bytes
        assert index is not None, "only shards have an index"
        at_start = index.location == "start"
        part = RangeByteRequest(0, size) if at_start else SuffixByteRequest(size)
        found = sync(self._get([(key, part) for key in keys]))
        return [None if raw is None else raw.tobytes() for raw in found]

    def fetch(self, ranges: Sequence[Range]) -> list[Bytes]:
        requests = coalesce(ranges)
        found = sync(self._get([(request.key, _byte_request(request)) for request, _ in requests]))
        readers: list[Bytes] = [lambda: None] * len(ranges)
        for (request, members), raw in zip(requests, found, strict=True):
            if raw is not None:
                for member in members:
                    readers[member] = partial(_part, raw, ranges[member], request.offset)
        return readers

    async def _get(self, requests: Sequence[tuple[str, ByteRequest | None]]) -> list[np.ndarray | None]:
        free = asyncio.Semaphore(REQUESTS)

        async def get(key: str, part: ByteRequest | None) -> np.ndarray | None:
            async with free:
                found = await (self._root / key).get(default_buffer_prototype(), part)
            return None if found is None else np.frombuffer(found.as_numpy_array(), np.uint8)

        return await asyncio.gather(*(get(*request) for request in requests))


def coalesce(ranges: Sequence[Range]) -> list[tuple[Range, list[int]]]:
    """Requests that cover all ranges, and which of the ranges each covers."""
    requests: list[tuple[Range, list[int]]] = []
    for member in sorted(range(len(ranges)), key=lambda i: (ranges[i].key, ranges[i].offset)):
        wanted = ranges[member]
        if requests and (joined := _join(requests[-1][0], wanted)):
            requests[-1] = (joined, [*requests[-1][1], member])
        else:
            requests.append((wanted, [member]))
    return requests


def _join(one: Range, other: Range) -> Range | None:
    """One range for both, ``other`` beginning behind ``one``; None if they are not worth joining."""
    if one.key != other.key:
        return None
    if one.length is None:
        return one
    assert other.length is not None, "a key is read whole, or in parts"
    end = max(one.offset + one.length, other.offset + other.length)
    near = other.offset - (one.offset + one.length) < GAP and end - one.offset <= LARGEST
    return Range(one.key, one.offset, end - one.offset) if near else None


def _byte_request(wanted: Range) -> RangeByteRequest | None:
    return None if wanted.length is None else RangeByteRequest(wanted.offset, wanted.offset + wanted.length)


def _part(raw: np.ndarray, wanted: Range, start: int) -> np.ndarray:
    if wanted.length is None:
        return raw
    return raw[wanted.offset - start :][: wanted.length]
