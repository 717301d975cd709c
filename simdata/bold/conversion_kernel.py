"""The build's inner loop, compiled: resample, clean, z-score, encode and transpose a block of vertices.

A vertex's series stays in the first cache from its source rows to its encoded values, and a block's encoded
values stay in the second until they are laid down second by second; nothing in between goes to memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import types
from numba.extending import overload

from simdata.bold.transposition import padded, transpose
from simdata.common.jit import REORDERED, compiled
from simdata.store.encoding import Encoding
from simdata.surface.resampling import Corners

BLOCK_BYTES = 2**18  # encoded values of a block: half of a usual second cache
LINE = 64  # vertices of a block are a multiple of this: whole cache lines are written
HALF_NORMAL = np.float32(2.0**-14)  # float16: its smallest normal number,
HALF_STEP = np.float32(2.0**-24)  # the step below that,
EXPONENTS = np.int32((127 - 15) << 23)  # and how much less its exponents are biased than float32's


@dataclass(frozen=True)
class Passage:
    """What a series goes through from volumes to rows: columns are projected out, and rows interpolated.

    Attributes
    ----------
    fit, basis : (rank, volumes) float32, as `simdata.bold.cleaning.Projection` has them
    first : (rows,) int32, the first volume that a row is made of
    weights : (rows, taps) float32, how much of that and of those behind it
    counted : (rows,) bool, those that mean and s.d. are of
    """

    fit: np.ndarray
    basis: np.ndarray
    first: np.ndarray
    weights: np.ndarray
    counted: np.ndarray


def convert_vertices(
    source: np.ndarray,
    corners: Corners,
    vertices: slice,
    encoding: Encoding,
    out: np.ndarray,
    mean: np.ndarray,
    std: np.ndarray,
    passage: Passage | None = None,
) -> int:
    """Convert some target vertices of a hemisphere, block by block.

    Parameters
    ----------
    source : (rows, volumes) float32, C-contiguous, in scanner units
    corners : which rows a target vertex is made of
    vertices : those to convert
    out : (rows, target vertices) of the encoding's type; columns ``vertices`` are written, with the fill
        value outside the cortex
    mean, std : (target vertices,) float32, over time, in scanner units; NaN outside the cortex. Elements
        ``vertices`` are written.
    passage : from volumes to rows; None where every volume is a row, as it is

    Returns
    -------
    Number of values that were clipped. A vertex that never varies is stored as zeros.
    """
    source = np.asarray(source)  # without numpy.memmap's own class
    source.flags.writeable = False
    stored = as_stored(out)
    fill = as_stored(np.array([encoding.fill], encoding.dtype))[0]
    factor = np.float32(1 / encoding.scale)
    start, stop, _ = vertices.indices(len(mean))
    size = min(stop - start, _block_vertices(len(out), encoding))
    # One for all blocks: where malloc returns every array to the system, its pages come back as new ones.
    space = np.empty((size, padded(len(out))), stored.dtype)
    clipped = 0
    for first in range(start, stop, size):
        some = slice(first, min(first + size, stop))
        block = space[: some.stop - first]
        rows, weights = corners.rows[some], corners.weights[some]
        statistics = mean[some], std[some]
        if passage is None:
            clipped += _convert_block(source, rows, weights, factor, fill, block, *statistics)
        else:
            clipped += _convert_moved_block(
                source,
                rows,
                weights,
                passage.fit,
                passage.basis,
                passage.first,
                passage.weights,
                passage.counted,
                factor,
                fill,
                block,
                *statistics,
            )
        transpose(block, stored[:, some])
    return clipped


def _block_vertices(volumes: int, encoding: Encoding) -> int:
    return max(LINE, BLOCK_BYTES // (volumes * encoding.dtype.itemsize) // LINE * LINE)


def as_stored(values: np.ndarray) -> np.ndarray:
    """float16 as its bits, uint16, which the compiler has no other type for; anything else as it is."""
    return values.view(np.uint16) if values.dtype == np.float16 else values


@compiled
def _convert_block(
    source: np.ndarray,
    rows: np.ndarray,
    weights: np.ndarray,
    factor: np.float32,
    fill: np.number,
    block: np.ndarray,
    mean: np.ndarray,
    std: np.ndarray,
) -> int:
    volumes = source.shape[1]
    series = np.empty(volumes, np.float32)
    clipped = 0
    for vertex in range(len(rows)):
        encoded = block[vertex, :volumes]
        if rows[vertex, 0] < 0:
            mean[vertex] = std[vertex] = np.nan
            encoded[:] = fill
            continue
        mean[vertex] = _resample(source, rows[vertex], weights[vertex], series)
        std[vertex] = _centre(series, mean[vertex])
        inverse = factor / std[vertex] if std[vertex] != 0 else np.float32(0)
        clipped += _encode(series, inverse, encoded)
    return clipped


@compiled
def _convert_moved_block(
    source: np.ndarray,
    rows: np.ndarray,
    weights: np.ndarray,
    fit: np.ndarray,
    basis: np.ndarray,
    first: np.ndarray,
    taps: np.ndarray,
    counted: np.ndarray,
    factor: np.float32,
    fill: np.number,
    block: np.ndarray,
    mean: np.ndarray,
    std: np.ndarray,
) -> int:
    """`_convert_block` with a passage between, apart from it: what has none is as fast as ever."""
    series = np.empty(source.shape[1], np.float32)
    moved = np.empty(len(first), np.float32)
    clipped = 0
    for vertex in range(len(rows)):
        encoded = block[vertex, : len(first)]
        if rows[vertex, 0] < 0:
            mean[vertex] = std[vertex] = np.nan
            encoded[:] = fill
            continue
        level = _resample(source, rows[vertex], weights[vertex], series)
        _project(series, level, fit, basis)
        rest = _interpolate(series, first, taps, counted, moved)
        mean[vertex] = level + rest
        std[vertex] = _centre_counted(moved, rest, counted)
        inverse = factor / std[vertex] if std[vertex] != 0 else np.float32(0)
        clipped += _encode(moved, inverse, encoded)
    return clipped


@compiled
def _project(series: np.ndarray, level: np.float32, fit: np.ndarray, basis: np.ndarray) -> None:
    """Subtract a level, and what a series has of each column, in place."""
    for volume in range(len(series)):
        series[volume] -= level
    for column in range(len(fit)):
        total = 0.0
        for volume in range(len(series)):
            total += np.float64(fit[column, volume]) * series[volume]
        much = np.float32(total)
        for volume in range(len(series)):
            series[volume] -= much * basis[column, volume]


@compiled
def _interpolate(
    series: np.ndarray, first: np.ndarray, taps: np.ndarray, counted: np.ndarray, moved: np.ndarray
) -> np.float32:
    """Write the rows; the mean of those that are counted."""
    total = 0.0
    for row in range(len(first)):
        value = np.float32(0)
        for tap in range(taps.shape[1]):
            value += taps[row, tap] * series[first[row] + tap]
        moved[row] = value
        total += value * counted[row]
    return np.float32(total / np.sum(counted))


@compiled
def _centre_counted(moved: np.ndarray, mean: np.float32, counted: np.ndarray) -> np.float32:
    """Subtract the mean, in place; the standard deviation of the rows that are counted."""
    squares = 0.0
    for row in range(len(moved)):
        moved[row] -= mean
        squares += np.float64(moved[row]) ** 2 * counted[row]
    return np.float32(np.sqrt(squares / np.sum(counted)))


@compiled
def _resample(source: np.ndarray, rows: np.ndarray, weights: np.ndarray, series: np.ndarray) -> np.float32:
    """Write the weighted sum of three rows; its mean."""
    first, second, third = source[rows[0]], source[rows[1]], source[rows[2]]
    one, two, three = weights
    total = 0.0
    for volume in range(len(series)):
        value = one * first[volume] + two * second[volume] + three * third[volume]
        series[volume] = value
        total += value
    return np.float32(total / len(series))


@compiled
def _centre(series: np.ndarray, mean: np.float32) -> np.float32:
    """Subtract the mean, in place; the standard deviation."""
    squares = 0.0
    for volume in range(len(series)):
        series[volume] -= mean
        squares += np.float64(series[volume]) ** 2
    return np.float32(np.sqrt(squares / len(series)))


@compiled
def encode(values: np.ndarray, factor: np.float32, out: np.ndarray) -> int:
    """Write ``values * factor`` in the type of ``out``, to nearest, ties to even; how many were clipped.

    ``values`` (float32) are overwritten. ``out`` is int8, which clips at +-127, float16's bits as uint16, or
    float32. float16 has room for whatever a z-score over fewer than 4e9 volumes can be. A run with NaN is
    refused, whatever is written for it.
    """
    return _encode(values, factor, out)


def _encode(values: np.ndarray, factor: np.float32, out: np.ndarray) -> int:
    """Compiled anew for each type of ``out``."""
    raise NotImplementedError


# Strict would be to annotate both alike, but this one is given types, and what it returns values.
@overload(_encode, jit_options={"fastmath": REORDERED}, strict=False)
def _encode_for(values: types.Array, factor: types.Float, out: types.Array) -> Callable[..., int]:
    if out.dtype == types.int8:
        return _encode_int8
    if out.dtype == types.uint16:
        return _encode_float16
    return _encode_float32


def _encode_int8(values: np.ndarray, factor: np.float32, out: np.ndarray) -> int:
    clipped = 0
    limit = np.float32(127)
    for i in range(len(values)):
        value = np.rint(values[i] * factor)
        clipped += np.abs(value) > limit
        out[i] = np.int8(min(max(value, -limit), limit))
    return clipped


def _encode_float16(values: np.ndarray, factor: np.float32, out: np.ndarray) -> int:
    for i in range(len(values)):
        values[i] *= factor
    words = values.view(np.int32)
    for i in range(len(values)):
        sign = (words[i] >> np.int32(16)) & np.int32(0x8000)
        word = words[i] & np.int32(0x7FFFFFFF)
        # Half of the last bit kept, less one, plus that bit: to nearest, ties to even. The carry is right.
        rounded = word + np.int32(0xFFF) + ((word >> np.int32(13)) & np.int32(1))
        normal = (rounded - EXPONENTS) >> np.int32(13)
        small = np.int32(np.rint(min(np.abs(values[i]), HALF_NORMAL) / HALF_STEP))
        out[i] = np.uint16(sign | (normal if np.abs(values[i]) >= HALF_NORMAL else small))
    return 0


def _encode_float32(values: np.ndarray, factor: np.float32, out: np.ndarray) -> int:
    for i in range(len(values)):
        out[i] = values[i] * factor
    return 0
