"""Files as memory, and loops over addresses in it: mapping, copying, reading ahead.

Addresses are int64. Nothing here checks them: what calls these functions has compared every offset with the
size of its file.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numba import types
from numba.core.types import ExternalFunction

from simdata.common.jit import compiled

WILLNEED = mmap.MADV_WILLNEED
PAGE = mmap.PAGESIZE
READ_SIZE = 128 * 1024  # the kernel cuts longer advice to the device's read-ahead, 128 KiB by default

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

# To numba these are types. In compiled code, and nowhere else, they are functions of the C library.
_memcpy: Callable[[int, int, int], int] = ExternalFunction(  # type: ignore[assignment]
    "memcpy", types.int64(types.int64, types.int64, types.int64)
)
_madvise: Callable[[int, int, int], int] = ExternalFunction(  # type: ignore[assignment]
    "madvise", types.int32(types.int64, types.int64, types.int32)
)


class _Mapping:
    """Owns a mapped file; numpy's array interface makes it the base of every view of it."""

    def __init__(self, address: int, size: int) -> None:
        self._address, self._size = address, size
        self.__array_interface__ = {
            "data": (address, True),
            "shape": (size,),
            "typestr": "|u1",
            "version": 3,
        }

    def __del__(self, unmap: Callable[[int, int], int] = _libc.munmap) -> None:
        unmap(self._address, self._size)


def map_file(path: Path) -> np.ndarray:
    """The bytes of a file, read-only; unmapped when the last view of them is gone.

    Python's own ``mmap`` keeps a descriptor open for each map, of which a process has 1,024 by default: less
    than a release has shards.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        if size == 0:
            return np.empty(0, np.uint8)
        address = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    finally:
        os.close(descriptor)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    return np.asarray(_Mapping(address, size))


@compiled
def gather_addresses(tables: np.ndarray, first: np.ndarray, frames: int) -> np.ndarray:
    """(n * frames,) addresses of rows ``first`` to ``first + frames`` of each table of addresses.

    Parameters
    ----------
    tables : (n,) int64, where each table of int64 begins in memory
    first : (n,) int64
    """
    addresses = np.empty(len(tables) * frames, np.int64)
    for window in range(len(tables)):
        _memcpy(addresses.ctypes.data + window * frames * 8, tables[window] + first[window] * 8, frames * 8)
    return addresses


@compiled
def copy_rows(sources: np.ndarray, size: int, target: int, ahead: int) -> None:
    """Copy rows of ``size`` bytes, one behind the other, to ``target``.

    The kernel is asked to read the next ``ahead`` rows while a row is copied: this keeps as many reads in
    flight, where page faults would be one at a time. 0 asks for nothing: quicker if all is in memory.
    """
    asked = 0
    for row in range(len(sources)):
        while ahead and asked < min(row + ahead, len(sources)):
            asked = _ask_for_rows(sources, size, asked)
        _memcpy(target + row * size, sources[row], size)


@compiled
def _ask_for_rows(sources: np.ndarray, size: int, first: int) -> int:
    """Ask for row ``first`` and those behind it that lie next to each other; the first row not asked for."""
    stop = first + 1
    while stop < len(sources) and 0 <= sources[stop] - sources[stop - 1] - size < PAGE:
        if sources[stop] + size - sources[first] > READ_SIZE:
            break
        stop += 1
    ask_for(sources[first], sources[stop - 1] + size - sources[first])
    return stop


@compiled
def ask_for(address: int, size: int) -> None:
    """Have the kernel begin to read a part of a mapped file."""
    start, end = address & ~(PAGE - 1), address + size
    while start < end:
        _madvise(start, min(READ_SIZE, end - start), WILLNEED)
        start += READ_SIZE
