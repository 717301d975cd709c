"""From volumes to seconds of a film: which volumes a row of the store is made of.

Row s stands for film time s + 1/2, volume k of a scan for its time start + (k + 1/2) TR. A play says which
film time a scan time is. Where TR is 1 s and everything is whole, a row is a volume; else it is interpolated
by cubic convolution, whose kernel is never narrower than a row: where TR is under 1 s, it is the filter that
keeps what is faster than rows can follow from showing as something slower.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simdata.common.cubic_convolution import SUPPORT, Band, cubic_band
from simdata.release.sources import Play

ROW = 1.0  # s
SAME_TR = 1e-6  # s: headers round


@dataclass(frozen=True)
class Timing:
    """The rows of a film that a scan has data for, and what they are made of.

    Attributes
    ----------
    rows : (n,) int, seconds of the film, in order of plays; those outside of plays, and those at the ends of
        a scan that would need volumes beyond, are not among them
    band : from volumes to these rows
    reach : s, rows less than this apart share volumes; 0 where none do
    """

    rows: np.ndarray
    band: Band
    reach: int

    @classmethod
    def of(cls, volumes: int, tr: float, start: float, plays: Sequence[Play], seconds: int) -> Timing:
        """Of a scan of so many volumes, and a film's axis of so many seconds.

        Parameters
        ----------
        tr, start : s; volume k stands for start + (k + 1/2) tr by the scan's clock
        plays : what was shown when

        Examples
        --------
        A film that began 7.3 s into a scan of 100 volumes, 1.49 s each:

        >>> timing = Timing.of(100, 1.49, 0.0, [Play(onset=7.3)], seconds=300)
        >>> timing.rows[[0, -1]], timing.band.first[0], timing.band.weights[0].round(3)
        (array([  0, 138]), 3, array([-0.064,  0.449,  0.668, -0.054], dtype=float32))
        """
        tr = ROW if abs(tr - ROW) < SAME_TR else tr
        film, time = _shown(plays, seconds)
        inside, band = cubic_band((time - start) / tr - 0.5, volumes, width=max(1.0, ROW / tr))
        between = band.weights.shape[1] > 1
        return cls(film[inside], band, math.ceil(2 * SUPPORT * max(tr, ROW)) if between else 0)

    @property
    def volumes_are_rows(self) -> bool:
        """Whether every row is one volume, the next row's the next volume, from 0 on."""
        first = self.band.first
        return self.band.weights.shape[1] == 1 and np.array_equal(first, np.arange(len(first)))

    def codes(self, scan: int, scrubbed: np.ndarray) -> np.ndarray:
        """(rows,) int16: ``scan``, or -``scan`` where a row has any of the ``scrubbed`` (volumes,) bool."""
        return np.where(self.band.touches(scrubbed), -scan, scan).astype(np.int16)


def _shown(plays: Sequence[Play], seconds: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of the film that were shown, and the scan time of their middles."""
    rows, times = [], []
    middle = np.arange(seconds) + 0.5
    for play in plays:
        stop = math.inf if play.duration is None else play.film_start + play.duration
        shown = np.flatnonzero((middle >= play.film_start) & (middle < stop))
        rows.append(shown)
        times.append(play.onset + middle[shown] - play.film_start)
    return np.concatenate(rows), np.concatenate(times)
