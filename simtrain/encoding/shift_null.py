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
    one, other = (values - values.mean(axis=0, dtype=float) for values in (predicted, true))
    products = 0
    for number, by in shifts.items():
        own = movie == number
        spectrum = np.fft.rfft(other[own], axis=0) * np.fft.rfft(one[own], axis=0).conj()
        products = products + np.fft.irfft(spectrum, n=own.sum(), axis=0)[by % own.sum()]
    length = np.linalg.norm(one, axis=0) * np.linalg.norm(other, axis=0)
    return (products / np.where(length > 0, length, 1)).astype(np.float32)


def p_values(r: np.ndarray, null: np.ndarray) -> np.ndarray:
    """(...): of each r; ``null`` is (shifts, ...)."""
    return (1 + (null >= r - ROUNDING).sum(axis=0)) / (1 + len(null))


def q_values(p: np.ndarray) -> np.ndarray:
    """p adjusted for the false discovery rate over all values; NaN stay."""
    known = ~np.isnan(p)
    q = np.full(p.shape, np.nan)
    q[known] = false_discovery_control(p[known])
    return q
