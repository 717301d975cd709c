"""Zarr v3 shards of one run and hemisphere, written as a strided array.

A shard holds one inner chunk a second: the little-endian values of all vertices and their crc32c. The
chunks lie one behind the other, so the shard is a (seconds, vertices) array with a fixed stride and an index
behind it (Zarr v3 specification, sharding-indexed codec 1.0). Zarr itself reads it like any other shard.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import google_crc32c
import numpy as np

CHECKSUM_BYTES = 4
ABSENT = np.uint64(2**64 - 1)


class ShardBuffer:
    """A shard in memory: fill ``values``, then ``write``.

    Parameters
    ----------
    seconds : chunks that hold data
    capacity : chunks that the shard has room for; those behind ``seconds`` stay absent
    vertices : values a chunk
    """

    def __init__(self, seconds: int, capacity: int, vertices: int, dtype: np.dtype) -> None:
        self._payload = vertices * dtype.itemsize
        self._chunks = np.empty((seconds, self._payload + CHECKSUM_BYTES), dtype=np.uint8)
        self._capacity = capacity
        self.values = self._chunks[:, : self._payload].view(dtype.newbyteorder("<"))

    def write(self, path: Path) -> None:
        """Seal the chunks with their checksums and write the shard; durable when this returns."""
        for chunk in self._chunks:
            checksum = google_crc32c.value(chunk[: self._payload].tobytes())
            chunk[self._payload :] = np.frombuffer(checksum.to_bytes(4, "little"), np.uint8)
        index = np.full((self._capacity, 2), ABSENT, dtype="<u8")
        seconds, stride = self._chunks.shape
        index[:seconds, 0] = np.arange(seconds) * stride
        index[:seconds, 1] = stride
        write_durably(path, [self._chunks.data, _sealed(index)])


def write_shard(path: Path, chunks: Sequence[bytes | None]) -> None:
    """Write a shard of encoded chunks, None for an absent one; durable when this returns."""
    lengths = [len(chunk) if chunk is not None else 0 for chunk in chunks]
    index = np.full((len(chunks), 2), ABSENT, dtype="<u8")
    present = [chunk is not None for chunk in chunks]
    index[present, 0] = (np.cumsum(lengths) - lengths)[present]
    index[present, 1] = np.array(lengths)[present]
    write_durably(path, [*(chunk for chunk in chunks if chunk is not None), _sealed(index)])


def _sealed(index: np.ndarray) -> bytes:
    """An index with its checksum."""
    table = index.tobytes()
    return table + google_crc32c.value(table).to_bytes(CHECKSUM_BYTES, "little")


def write_durably(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file of several parts; on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
