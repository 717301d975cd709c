"""Laying a block of vertices down second by second.

Bytes go in squares of eight by eight, held in eight words, whose halves, quarters and eighths are swapped in
three steps (Warren, Hacker's Delight, 2nd edition, section 7-3): a third of the time of byte after byte.
"""

from __future__ import annotations

import numpy as np

from simdata.common.jit import compiled

WORD = 8
HALF, QUARTER, EIGHTH = (np.uint64(bits) for bits in (32, 16, 8))
LOW_HALF, LOW_QUARTERS, LOW_EIGHTHS = (
    np.uint64(mask) for mask in (0x00000000FFFFFFFF, 0x0000FFFF0000FFFF, 0x00FF00FF00FF00FF)
)


def padded(volumes: int) -> int:
    """Columns that a block must have: whole words."""
    return -(-volumes // WORD) * WORD


def transpose(block: np.ndarray, out: np.ndarray) -> None:
    """Write ``block`` (vertices, padded volumes) to ``out`` (volumes, vertices) of the same type.

    ``block`` is C-contiguous; the values of a volume lie side by side in ``out``.
    """
    whole = len(block) // WORD * WORD if block.itemsize == 1 else 0
    if whole:
        _transpose_bytes(block[:whole].view(np.uint64), out[:, :whole].view(np.uint64))
    _transpose_values(block[whole:], out[:, whole:])


@compiled
def _transpose_values(block: np.ndarray, out: np.ndarray) -> None:
    for volume in range(len(out)):
        for vertex in range(len(block)):
            out[volume, vertex] = block[vertex, volume]


@compiled
def _transpose_bytes(block: np.ndarray, out: np.ndarray) -> None:
    """Eight rows of words of ``block`` become a column of words in ``out``."""
    words = block.shape[1]
    squares = np.empty((words, WORD), np.uint64)
    column = squares.reshape(-1)
    for group in range(out.shape[1]):
        rows = block[group * WORD : (group + 1) * WORD]
        for word in range(words):
            a, b, c, d = rows[0, word], rows[1, word], rows[2, word], rows[3, word]
            e, f, g, h = rows[4, word], rows[5, word], rows[6, word], rows[7, word]
            a, e = _swap(a, e, HALF, LOW_HALF)
            b, f = _swap(b, f, HALF, LOW_HALF)
            c, g = _swap(c, g, HALF, LOW_HALF)
            d, h = _swap(d, h, HALF, LOW_HALF)
            a, c = _swap(a, c, QUARTER, LOW_QUARTERS)
            b, d = _swap(b, d, QUARTER, LOW_QUARTERS)
            e, g = _swap(e, g, QUARTER, LOW_QUARTERS)
            f, h = _swap(f, h, QUARTER, LOW_QUARTERS)
            a, b = _swap(a, b, EIGHTH, LOW_EIGHTHS)
            c, d = _swap(c, d, EIGHTH, LOW_EIGHTHS)
            e, f = _swap(e, f, EIGHTH, LOW_EIGHTHS)
            g, h = _swap(g, h, EIGHTH, LOW_EIGHTHS)
            square = squares[word]
            square[0], square[1], square[2], square[3] = a, b, c, d
            square[4], square[5], square[6], square[7] = e, f, g, h
        for volume in range(len(out)):
            out[volume, group] = column[volume]


@compiled
def _swap(one: np.uint64, other: np.uint64, shift: np.uint64, mask: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Swap the high parts of one word with the low parts of the other."""
    difference = ((one >> shift) ^ other) & mask
    return one ^ (difference << shift), other ^ difference
