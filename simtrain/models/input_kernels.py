"""Compiled loops over windows of BOLD on the CPU.

They release the interpreter's lock, so that threads of Python share the samples of a batch among them
(`data.feeds.team`): there is no second pool of threads, and no limit on who calls them at the same time.
"""

from __future__ import annotations

import numpy as np

from simdata.common.jit import compiled
from simdata.store.encoding import INT8_FILL

BLOCK = 4096  # gathered words that stay in the first cache until they are written as numbers
ROUNDING = np.float64(np.finfo(np.float32).eps)
MISSING = np.int8(INT8_FILL)


@compiled
def integer_patches(
    stored: np.ndarray,
    hemisphere: np.ndarray,
    cortex: np.ndarray,
    vertices: np.ndarray,
    out: np.ndarray,
) -> None:
    """z-score frames of int8 over what has data and gather vertices, as `models.input.FramePatches` says.

    The sums are exact. Frames travel to their patches three at a time, as the bytes of one word whose fourth
    byte says whether the vertex has data, and become numbers when they are written.

    Parameters
    ----------
    stored : (samples, frames, mesh vertices) int8
    hemisphere : (samples,) int64
    cortex : (hemispheres, mesh vertices) int8, 1 inside, 0 outside
    vertices : (gathered,) int32
    out : (samples, gathered * frames) float32, written in place
    """
    samples, frames, mesh = stored.shape
    words, block = np.empty(mesh, np.uint32), np.empty(BLOCK, np.uint32)
    mean, scale = np.empty(frames, np.float32), np.empty(frames, np.float32)
    with_data = np.empty(mesh, np.int8)
    for sample in range(samples):
        surface = cortex[hemisphere[sample]]
        whole = True
        for frame in range(frames):
            whole &= _integer_moments(stored[sample, frame], surface, mean, scale, frame)
        if not whole:  # rarely
            with_data[:] = surface
            surface = with_data
            for frame in range(frames):
                _leave_out_integers(stored[sample, frame], surface)
            for frame in range(frames):
                _integer_moments(stored[sample, frame], surface, mean, scale, frame)
        for first in range(0, frames, 3):
            together = min(3, frames - first)
            _pack(stored[sample, first : first + together], surface, words)
            for start in range(0, len(vertices), BLOCK):
                here = vertices[start : start + BLOCK]
                for place in range(len(here)):
                    block[place] = words[here[place]]
                written = out[sample, start * frames : (start + len(here)) * frames]
                if frames == 3:
                    _unpack_three(block[: len(here)], mean, scale, written)
                else:
                    _unpack(block[: len(here)], mean, scale, first, together, written)


@compiled
def float_patches(
    stored: np.ndarray,
    hemisphere: np.ndarray,
    cortex: np.ndarray,
    vertices: np.ndarray,
    out: np.ndarray,
) -> None:
    """Do as `integer_patches` for float32, in which NaN is what has no data, with sums in float64."""
    samples, frames, mesh = stored.shape
    scored = np.empty((frames, mesh), np.float32)
    with_data = np.empty(mesh, np.int8)
    for sample in range(samples):
        surface = cortex[hemisphere[sample]]
        whole = True
        for frame in range(frames):
            whole &= _float_scores(stored[sample, frame], surface, scored[frame])
        if not whole:  # rarely
            with_data[:] = surface
            surface = with_data
            for frame in range(frames):
                _leave_out_floats(stored[sample, frame], surface)
            for frame in range(frames):
                _float_scores(stored[sample, frame], surface, scored[frame])
        _gather(scored, vertices, out[sample])


@compiled
def scaled_patches(
    stored: np.ndarray,
    missing: np.number,
    hemisphere: np.ndarray,
    scale: tuple[np.ndarray, np.ndarray, np.ndarray],
    zscored: bool,
    cortex: np.ndarray,
    vertices: np.ndarray,
    out: np.ndarray,
) -> None:
    """Scale frames by vertex, z-score them or not, and gather vertices, as `models.input.FramePatches` says.

    Parameters
    ----------
    stored : (samples, frames, mesh vertices) int8 or float32
    missing : of the same type, what stands where there are no data
    scale : factor, offset and row, as `simtrain.data.run_scales.RunScale` has them
    hemisphere, cortex, vertices, out : as for `integer_patches`
    """
    factors, offsets, row = scale
    samples, frames, mesh = stored.shape
    values = np.empty((frames, mesh), np.float32)
    with_data = np.empty(mesh, np.int8)
    for sample in range(samples):
        with_data[:] = cortex[hemisphere[sample]]
        factor = factors[row[sample]]
        for frame in range(frames):
            _scale(stored[sample, frame], missing, factor, values[frame])
            if len(offsets):
                values[frame] += offsets[row[sample]]
            _leave_out_floats(values[frame], with_data)
        for frame in range(frames):
            if zscored:
                _float_scores(values[frame], with_data, values[frame])
            else:
                _only(with_data, values[frame])
        _gather(values, vertices, out[sample])


@compiled
def _gather(values: np.ndarray, vertices: np.ndarray, written: np.ndarray) -> None:
    """Write the frames (frames, mesh vertices) of ``vertices``, those of a vertex together."""
    frames = len(values)
    for place in range(len(vertices)):
        vertex = vertices[place]
        for frame in range(frames):
            written[place * frames + frame] = values[frame, vertex]


@compiled
def _scale(row: np.ndarray, missing: np.number, factor: np.ndarray, target: np.ndarray) -> None:
    for vertex in range(len(row)):
        value = np.float32(row[vertex]) * factor[vertex]
        target[vertex] = np.float32(np.nan) if row[vertex] == missing else value


@compiled
def _only(surface: np.ndarray, row: np.ndarray) -> None:
    for vertex in range(len(row)):
        if not surface[vertex]:
            row[vertex] = 0


@compiled
def _leave_out_integers(row: np.ndarray, surface: np.ndarray) -> None:
    for vertex in range(len(row)):
        if row[vertex] == MISSING:
            surface[vertex] = 0


@compiled
def _float_scores(row: np.ndarray, surface: np.ndarray, target: np.ndarray) -> bool:
    """z-score a frame; whether all of ``surface`` has data in it, which NaN in a sum denies."""
    count, total, squares = 0, 0.0, 0.0
    for vertex in range(len(row)):
        value = np.float64(row[vertex]) if surface[vertex] else 0.0
        count += surface[vertex]
        total += value
        squares += value * value
    count = max(count, 1)  # of a hemisphere without data
    mean, scale = _affine(total / count, squares / count - (total / count) ** 2)
    for vertex in range(len(row)):
        target[vertex] = (row[vertex] - mean) * scale if surface[vertex] else np.float32(0)
    return not np.isnan(total)


@compiled
def _leave_out_floats(row: np.ndarray, surface: np.ndarray) -> None:
    for vertex in range(len(row)):
        if np.isnan(row[vertex]):
            surface[vertex] = 0


@compiled
def _affine(mean: float, variance: float) -> tuple[np.float32, np.float32]:
    """Mean and 1 / s.d. of a frame; 0 for the latter where the s.d. is rounding error, or none."""
    flat = not variance > (ROUNDING * mean) ** 2
    return np.float32(mean), np.float32(0) if flat else np.float32(1 / np.sqrt(variance))


@compiled
def _integer_moments(
    row: np.ndarray, surface: np.ndarray, mean: np.ndarray, scale: np.ndarray, frame: int
) -> bool:
    """Write mean and 1 / s.d. of a frame; whether all of ``surface`` has data in it."""
    # An ico6 frame of squares of int8 adds up to 6.6e8 at most.
    count, total, squares, lowest = np.int32(0), np.int32(0), np.int32(0), np.int32(0)
    for vertex in range(len(row)):
        value = np.int32(row[vertex] & -surface[vertex])
        count = np.int32(count + surface[vertex])
        total = np.int32(total + value)
        squares = np.int32(squares + value * value)
        lowest = min(lowest, value)
    count = max(count, np.int32(1))  # of a hemisphere without data
    spread = np.int64(count) * np.int64(squares) - np.int64(total) * np.int64(total)
    mean[frame], scale[frame] = _affine(total / count, spread / (np.float64(count) * np.float64(count)))
    return lowest != MISSING


@compiled
def _pack(frames: np.ndarray, surface: np.ndarray, words: np.ndarray) -> None:
    """One to three bytes of each vertex, and a fourth that is 1 where ``surface`` is."""
    one, two, three = frames[0].view(np.uint8), frames[-1].view(np.uint8), frames[-1].view(np.uint8)
    if len(frames) == 3:
        two = frames[1].view(np.uint8)
    inside = surface.view(np.uint8)
    for vertex in range(len(words)):
        words[vertex] = (
            np.uint32(one[vertex])
            | np.uint32(two[vertex]) << np.uint32(8)
            | np.uint32(three[vertex]) << np.uint32(16)
            | np.uint32(inside[vertex]) << np.uint32(24)
        )


@compiled
def _unpack_three(words: np.ndarray, mean: np.ndarray, scale: np.ndarray, out: np.ndarray) -> None:
    """The usual window, of three frames, with all that makes it run in vectors."""
    a, b, c = mean[0], mean[1], mean[2]
    p, q, r = scale[0], scale[1], scale[2]
    for place in range(len(words)):
        word = words[place]
        inside = np.float32(np.int32(word >> np.uint32(24)))
        out[place * 3] = (np.float32(np.int8(word)) - a) * p * inside
        out[place * 3 + 1] = (np.float32(np.int8(word >> np.uint32(8))) - b) * q * inside
        out[place * 3 + 2] = (np.float32(np.int8(word >> np.uint32(16))) - c) * r * inside


@compiled
def _unpack(
    words: np.ndarray, mean: np.ndarray, scale: np.ndarray, first: int, together: int, out: np.ndarray
) -> None:
    frames = len(mean)
    for frame in range(together):
        shift = np.uint32(8 * frame)
        offset, centre, factor = first + frame, mean[first + frame], scale[first + frame]
        for place in range(len(words)):
            word = words[place]
            inside = np.float32(np.int32(word >> np.uint32(24)))
            value = np.float32(np.int8(word >> shift))
            out[place * frames + offset] = (value - centre) * factor * inside
