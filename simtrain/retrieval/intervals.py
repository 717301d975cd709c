"""Confidence intervals that are to hold for other subjects and other film clips than those that were tested.

Subjects and clips are both random, and crossed: every subject sees every clip, or nearly so. What the mean
over windows varies by is the sum of what differs between subjects and between clips, less what differs
between cells of both, which each of the two has in it (Cameron, Gelbach & Miller 2011, J. Bus. Econ. Stat.
29, on clusters in two ways). It is never taken to be less than what subjects, or clips, vary by alone.
Quantiles are Student's, with degrees of freedom after Satterthwaite (1946, Biometrics 2); what lies between
bounds, such as a share, has its interval on the logit scale. ``scripts/coverage_of_intervals.py`` shows how
often such intervals cover the truth, beside bootstraps.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit
from scipy.stats import t as student

CONFIDENCE = 95  # percent
FEWEST = 5  # subjects, and clips: with fewer there is no interval


class Interval(NamedTuple):
    low: float
    high: float


class Crossed:
    """Tested windows by subject and film clip.

    Parameters
    ----------
    subject, clip : of the shape of the values, whose and of which clip each window is

    Attributes
    ----------
    subjects, clips : how many there are
    """

    def __init__(self, subject: np.ndarray, clip: np.ndarray) -> None:
        subjects, whose = np.unique(subject, return_inverse=True)
        clips, which = np.unique(clip, return_inverse=True)
        self.subjects, self.clips = len(subjects), len(clips)
        self._cell = whose.ravel() * self.clips + which.ravel()
        self._windows = self._by_cell(np.ones(self._cell.size))

    def mean(self, values: np.ndarray, bounds: tuple[float, float] | None = None) -> Interval | None:
        """Interval of the mean of values.

        None with fewer than ``FEWEST`` subjects or clips, and where the mean is one of the bounds, so that
        nothing is known of what it varies by.

        Parameters
        ----------
        bounds : which no mean can surpass; None: there are none
        """
        if min(self.subjects, self.clips) < FEWEST:
            return None
        mean = float(values.mean())
        variance, freedom = self._variance(self._by_cell(values.ravel()) - mean * self._windows)
        half = float(student.ppf(0.5 + CONFIDENCE / 200, freedom)) * variance**0.5
        if bounds is None:
            return Interval(mean - half, mean + half)
        low, wide = bounds[0], bounds[1] - bounds[0]
        share = (mean - low) / wide
        if not 0 < share < 1:
            return None
        half /= wide * share * (1 - share)
        return Interval(*(float(low + wide * expit(logit(share) + side * half)) for side in (-1, 1)))

    def _by_cell(self, values: np.ndarray) -> np.ndarray:
        """(subjects, clips) sums."""
        size = self.subjects * self.clips
        return np.bincount(self._cell, values, size).reshape(self.subjects, self.clips)

    def _variance(self, apart: np.ndarray) -> tuple[float, float]:
        """Of the mean, and its degrees of freedom.

        Parameters
        ----------
        apart : (subjects, clips) by how much the sum of each cell differs from what the mean would make it
        """
        windows, subjects, clips = self._windows, self.subjects, self.clips
        rows, columns = apart.sum(axis=1, keepdims=True), apart.sum(axis=0)
        cells = np.count_nonzero(windows)
        left = cells - subjects - clips + 1  # what is known of cells beside their subjects and clips
        alone = apart - windows * (rows / windows.sum(axis=1, keepdims=True) + columns / windows.sum(axis=0))
        of_subjects = subjects / (subjects - 1) * np.square(rows).sum()
        of_clips = clips / (clips - 1) * np.square(columns).sum()
        of_cells = cells / left * np.square(alone).sum() if left > 0 else 0.0
        total = max(of_subjects + of_clips - of_cells, of_subjects, of_clips)
        if total == 0:
            return 0.0, 1.0
        freedom = total**2 / (of_subjects**2 / (subjects - 1) + of_clips**2 / (clips - 1))
        return float(total / windows.sum() ** 2), float(freedom)
