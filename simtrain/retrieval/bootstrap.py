"""Confidence intervals by drawing subjects, with replacement, from those that were tested.

Windows of a subject stay together: they depend on each other, and it is other subjects that a figure is to
hold for. The stimulus is not drawn anew. With few subjects such intervals are too narrow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RESAMPLES = 1000
CONFIDENCE = 95  # percent
CELLS = 2**22  # of one chunk: bounds the memory


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

    def median(self, values: np.ndarray) -> Interval | None:
        """Interval of the mean over draws of the medians of (draws, tested) values over subjects drawn."""
        size = max(1, CELLS // values.shape[1])
        parts = np.array_split(self.times, -(-len(self.times) // size))
        draws = list(zip(values, self._subject, strict=True))
        medians = [np.concatenate([_medians(*draw, times) for times in parts]) for draw in draws]
        return self._interval(np.nanmean(medians, axis=0))

    def _interval(self, resampled: np.ndarray) -> Interval | None:
        if self.times.shape[1] == 1:
            return None
        beyond = (100 - CONFIDENCE) / 2
        return Interval(*map(float, np.percentile(resampled, [beyond, 100 - beyond])))


def _medians(values: np.ndarray, subject: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(resamples,) medians of (n,) values, each as often as its subject was drawn; NaN if there is none."""
    order = np.argsort(values, kind="stable")
    upto = np.cumsum(times[:, subject[order]], axis=1)
    total = upto[:, -1:]
    # The first value with more than so many up to it: the two in the middle, one and the same if odd.
    lower, upper = ((upto <= middle).sum(axis=1) for middle in ((total - 1) // 2, total // 2))
    last = len(values) - 1
    middle = (values[order[np.minimum(lower, last)]] + values[order[np.minimum(upper, last)]]) / 2
    return np.where(total[:, 0] > 0, middle, np.nan)
