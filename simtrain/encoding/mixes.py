"""Mixes: which share of a design's variance each feature space has before the penalty.

A penalty for each of several spaces is one penalty for all of them in one mix (Nunez-Elizalde, Huth and
Gallant, NeuroImage 2019, doi:10.1016/j.neuroimage.2019.04.012): so banded ridge regression is a search over
mixes (Dupre la Tour et al., NeuroImage 2022, doi:10.1016/j.neuroimage.2022.119728, at random). Here they are
spread evenly over the logarithms of their ratios, which are those of the penalties.
"""

from __future__ import annotations

import numpy as np
from scipy.stats.qmc import Halton

DECADES = 2.0  # that the share of a space is above or below the first one's, at most


def as_given(power: np.ndarray) -> np.ndarray:
    """(1, spaces): spaces beside each other as they are, which is plain ridge regression.

    Parameters
    ----------
    power : (spaces,) sum of squares of each
    """
    return (power / power.sum())[None]


def least_number(spaces: int) -> int:
    """Of `candidates`: as they are, and each space by itself."""
    return 1 + spaces


def candidates(power: np.ndarray, count: int) -> np.ndarray:
    """(count, spaces), each of sum 1: spaces as they are, each by itself, and others spread evenly."""
    spaces = len(power)
    spread = Halton(spaces - 1, scramble=False).random(count - least_number(spaces))
    shares = 10.0 ** (DECADES * (2 * np.insert(spread, 0, 0.5, axis=1) - 1))
    mixed = shares / shares.sum(axis=1, keepdims=True)
    return np.concatenate([as_given(power), np.eye(spaces), mixed])
