"""Confidence intervals by drawing subjects, with replacement, from those that were tested.

Windows of a subject stay together: they depend on each other, and it is other subjects that a figure is to
hold for. The stimulus is not drawn anew. With few subjects such intervals are too narrow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RESAMPLES = 1000
CONFIDENCE = 95  # percent


class Interval(NamedTuple):
    low: float
    high: float


class Bootstrap:
    """Resamples of the subjects of tested windows, the same for all figures of these windows.

    Parameters
    ----------
    subject : (draws, tested) whose each tested window is

    Attributes
    ----------
    times : (resamples, subjects) int64, how often each subject was drawn
    """

    def __init__(self, subject: np.ndarray, seed: int, resamples: int = RESAMPLES) -> None:
        subjects, self._subject = np.unique(subject, return_inverse=True)  # of the shape of ``subject``
        share = np.full(len(subjects), 1 / len(subjects))
        # A stream of its own: the draws of windows must not depend on the number of resamples.
        self.times = np.random.default_rng([seed, 1]).multinomial(len(subjects), share, size=resamples)

    def mean(self, values: np.ndarray) -> Interval | None:
        """Interval of the mean of (draws, tested) values over the subjects drawn; None for a single one."""
        count = np.bincount(self._subject.ravel())
        total = np.bincount(self._subject.ravel(), weights=values.ravel())
        return self._interval((self.times @ total) / (self.times @ count))

    def _interval(self, resampled: np.ndarray) -> Interval | None:
        if self.times.shape[1] == 1:
            return None
        beyond = (100 - CONFIDENCE) / 2
        return Interval(*map(float, np.percentile(resampled, [beyond, 100 - beyond])))
