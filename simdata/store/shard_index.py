"""Where chunks lie: the index of a shard as a table, and a run's part of it."""

from __future__ import annotations

from typing import NamedTuple

import google_crc32c
import numpy as np

from simdata.common.errors import DamagedStore
from simdata.store.layout import CHECKSUM, Layout


class Extents(NamedTuple):
    """Where the chunks of a run and hemisphere lie within one object, in the order of time.

    Attributes
    ----------
    offset, length : (chunks,) int64 bytes; -1 if the chunk is absent
    """

    offset: np.ndarray
    length: np.ndarray


def parse_index(raw: bytes, layout: Layout, name: str) -> np.ndarray:
    """(subjects, movies, chunks, hemispheres, 2) int64, offset and length of each chunk; -1 if it is absent.

    Raises
    ------
    OSError
        If the index is cut short or does not match its checksum. ``name`` says of which shard.
    """
    assert layout.index is not None, "only shards have an index"
    if len(raw) != layout.index_bytes:
        raise DamagedStore(f"{name}: is too short for its index; the store is damaged")
    if layout.index.checksum:
        raw, checksum = raw[:-CHECKSUM], raw[-CHECKSUM:]
        if google_crc32c.value(raw) != int.from_bytes(checksum, "little"):
            raise DamagedStore(f"{name}: its index does not match its checksum; the store is damaged")
    # The format's mark of an absent chunk, 2^64 - 1 twice, is -1 here.
    return np.frombuffer(raw, "<i8").reshape(*layout.chunks_per_object, 2)


def extents_of(index: np.ndarray, subject: int, movie: int, hemisphere: int) -> Extents:
    """The part of a shard's index that belongs to a run (positions in the whole array)."""
    subjects, movies, _, hemispheres, _ = index.shape
    offset, length = index[subject % subjects, movie % movies, :, hemisphere % hemispheres].T
    return Extents(offset, length)
