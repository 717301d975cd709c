"""From a chunk's bytes to its values and back."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import google_crc32c
import numpy as np
from numcodecs import Blosc, blosc, zstd
from numcodecs.gzip import GZip

from simdata.store.layout import CHECKSUM, Layout

UNREADABLE = (RuntimeError, ValueError, OSError, EOFError, zlib.error)  # what numcodecs' codecs raise


def decode_chunk(data: np.ndarray, layout: Layout, out: np.ndarray) -> None:
    """Undo a chunk's codecs.

    Parameters
    ----------
    data : (n,) uint8
    out : (seconds, vertices), contiguous; decompressed into directly if nothing comes after

    Raises
    ------
    OSError
        If a checksum or the length is wrong: the store is damaged.
    """
    wanted = out.reshape(-1).view(np.uint8)
    first, *others = layout.codecs or (None,)
    for codec in reversed(others):
        data = _DECODERS[codec](data, None)
    found = _DECODERS[first](data, wanted) if first else data
    if found is not wanted:
        if len(found) != len(wanted):
            raise OSError(f"a chunk has {len(found)} bytes, not {len(wanted)}; the store is damaged")
        wanted[:] = found


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


def _verified(data: np.ndarray, _: np.ndarray | None) -> np.ndarray:
    values, checksum = data[:-CHECKSUM], data[-CHECKSUM:].tobytes()
    if google_crc32c.value(values.tobytes()) != int.from_bytes(checksum, "little"):
        raise OSError("a chunk does not match its checksum; the store is damaged")
    return values


def _decompressed(decompress: Callable[[np.ndarray, np.ndarray | None], object]) -> Callable:
    def decode(data: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        try:
            found = decompress(data, out)
        except UNREADABLE as error:
            raise OSError(f"a chunk does not decompress ({error}); the store is damaged") from error
        return out if out is not None else np.frombuffer(found, np.uint8)

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
