"""From a chunk's bytes to its values and back."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import google_crc32c
import numpy as np
from numcodecs import Blosc, blosc, zstd
from numcodecs.gzip import GZip

from simdata.common.errors import DamagedStore
from simdata.store.layout import CHECKSUM, Layout

UNREADABLE = (RuntimeError, ValueError, OSError, EOFError, zlib.error)  # what numcodecs' codecs raise


def decode_chunk(data: np.ndarray, layout: Layout, out: np.ndarray) -> None:
    """Undo a chunk's codecs.

    Parameters
    ----------
    data : (n,) uint8
    out : (seconds, vertices), contiguous

    Raises
    ------
    DamagedStore
        If a checksum or the length is wrong.
    """
    wanted = out.reshape(-1).view(np.uint8)
    for codec in reversed(layout.codecs):
        data = _DECODERS[codec](data)
    # Not straight into ``out``: the decoders do not say if they filled it.
    if len(data) != len(wanted):
        raise DamagedStore(f"a chunk has {len(data)} bytes, not {len(wanted)}; the store is damaged")
    wanted[:] = data


def encode_chunk(values: np.ndarray, codecs: Sequence[str], level: int | None) -> bytes:
    """Bytes of a chunk.

    Parameters
    ----------
    values : (seconds, vertices), little-endian
    codecs : in the order of `Layout.codecs`
    level : of the compression, if there is one
    """
    data = np.ascontiguousarray(values)  # blosc shuffles by its itemsize
    for codec in codecs:
        data = _ENCODERS[codec](data, level)
    return bytes(data)


def _verified(data: np.ndarray) -> np.ndarray:
    values, checksum = data[:-CHECKSUM], data[-CHECKSUM:].tobytes()
    if google_crc32c.value(values.tobytes()) != int.from_bytes(checksum, "little"):
        raise DamagedStore("a chunk does not match its checksum; the store is damaged")
    return values


def _decompressed(decompress: Callable[[np.ndarray], bytes]) -> Callable[[np.ndarray], np.ndarray]:
    def decode(data: np.ndarray) -> np.ndarray:
        try:
            return np.frombuffer(decompress(data), np.uint8)
        except UNREADABLE as error:
            raise DamagedStore(f"a chunk does not decompress ({error}); the store is damaged") from error

    return decode


_DECODERS = {
    "crc32c": _verified,
    "zstd": _decompressed(zstd.decompress),
    "blosc": _decompressed(blosc.decompress),
    "gzip": _decompressed(GZip().decode),
}
_ENCODERS = {
    "crc32c": lambda data, _: (raw := bytes(data)) + google_crc32c.value(raw).to_bytes(CHECKSUM, "little"),
    "zstd": zstd.compress,
    "blosc": lambda data, level: Blosc("zstd", level).encode(data),
    "gzip": lambda data, level: GZip(level).encode(data),
}
