"""What is expected by chance: the prediction moved in time against the BOLD.

The predicted seconds of each run move round in a circle, which keeps the autocorrelation of both; a vertex's
p is (1 + shifts as good or better) / (1 + shifts). Every subject and vertex has the same shifts, so that what
vertices and subjects share is in the null, too. Over vertices, the false discovery rate is that of Benjamini
and Hochberg (Journal of the Royal Statistical Society B 1995).

Shifts are of any length, also of few seconds, which are as good as the true moment or nearly so. To leave
them out would be to take from the null what resembles r by chance: with autocorrelations of .7, in three runs
of 38 s, shifts of 10 s and more have p <= .05 in 16 % of vertices that respond to nothing, and these in 6 %
(docs/encoding.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
from scipy.stats import false_discovery_control

SHIFTS = 1000
ROUNDING = 1e-6  # of r in float32
SEED = 0
PART = 4096  # targets at a time


def draw_shifts(seconds: Mapping[int, int], count: int) -> np.ndarray:
    """(shifts, movies) int: by how many seconds each movie is shifted, in the order of ``seconds``.

    ``count`` at random, or all that there are if these are no more; but for the one that shifts nothing.

    Parameters
    ----------
    seconds : movie -> how many there are
    """
    lengths = list(seconds.values())
    if np.prod(lengths, dtype=float) <= count + 1:
        return np.array(list(product(*map(range, lengths))))[1:]
    return np.random.default_rng(SEED).integers(0, lengths, (count, len(lengths)))


def shifted_correlation(
    predicted: np.ndarray, true: np.ndarray, movie: np.ndarray, shifts: Mapping[int, np.ndarray]
) -> np.ndarray:
    """(shifts, targets) float32: Pearson's r at every shift; 0 where nothing varies.

    Parameters
    ----------
    predicted, true : (seconds, targets), those of a movie in order of time
    movie : (seconds,)
    shifts : movie -> (shifts,) by how many seconds what is predicted comes later
    """
    count = len(next(iter(shifts.values())))
    found = np.empty((count, predicted.shape[1]), np.float32)
    for start in range(0, predicted.shape[1], PART):
        part = slice(start, start + PART)
        one, other = (
            values[:, part] - values[:, part].mean(axis=0, dtype=float) for values in (predicted, true)
        )
        products = np.zeros((count, one.shape[1]))
        for number, by in shifts.items():
            products += _circular(one[movie == number], other[movie == number])[by]
        length = np.linalg.norm(one, axis=0) * np.linalg.norm(other, axis=0)
        found[:, part] = products / np.where(length > 0, length, 1)
    return found


def _circular(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(seconds, targets): products with ``one`` moved round to come later by each number of seconds."""
    spectrum = np.fft.rfft(other, axis=0) * np.fft.rfft(one, axis=0).conj()
    return np.fft.irfft(spectrum, n=len(one), axis=0)


def p_values(r: np.ndarray, null: np.ndarray) -> np.ndarray:
    """(...): of each r; ``null`` is (shifts, ...)."""
    return (1 + (null >= r - ROUNDING).sum(axis=0)) / (1 + len(null))


def q_values(p: np.ndarray) -> np.ndarray:
    """p adjusted for the false discovery rate over all values; NaN stay."""
    known = ~np.isnan(p)
    q = np.full(p.shape, np.nan)
    q[known] = false_discovery_control(p[known])
    return q
