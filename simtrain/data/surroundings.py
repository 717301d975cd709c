"""Which seconds of BOLD around a window a model may see beside it: its context (``context``).

A second of BOLD answers what was on screen ``lag`` s before: film of a set of scenes, or rest. Rest goes with
the film before it, since BOLD follows film, and with any set before there was film. The context of a window
is all that answers its own set, or film of no set if it is of none, from the window on to both sides, up to
the first second that does not. So it ends at a held-out scene and at BOLD that shares volumes with its, at
the test-retest clip, at a guard between sets, and at the ends of the scan or of its usable rows, whatever
``data.moments`` lets the window itself be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simtrain.config.resolved import ResolvedConfig
from simtrain.data.dataset import SPLITS, Dataset
from simtrain.data.scan_rows import near_held_out, stretches

BEFORE_FILM = -1  # in place of a set


@dataclass(frozen=True, eq=False)
class Surroundings:
    """How far contexts go.

    Attributes
    ----------
    before, frames, after : s, of the context, of the window in it, and of the context again
    first, last : (sets, movies, seconds) int, of the stretch of BOLD around each second that windows of a set
        (its position in ``SPLITS``) may see; the second itself where that is none
    scan_first, scan_last : (subjects, movies, seconds) int, of the stretch of usable rows of one scan
    """

    before: int
    frames: int
    after: int
    first: np.ndarray
    last: np.ndarray
    scan_first: np.ndarray
    scan_last: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, config: ResolvedConfig) -> Surroundings:
        """That of a configuration, on a store."""
        own, context = answered(dataset, config.data.lag), config.context
        allowed = np.stack([(own == one) | (own == BEFORE_FILM) for one in range(len(SPLITS))])
        allowed &= np.arange(own.shape[1]) < dataset.volumes[:, None]
        allowed &= ~near_held_out(dataset, config.data.lag, SPLITS)
        first = _stretches(allowed)
        last = own.shape[1] - 1 - _stretches(allowed[..., ::-1])[..., ::-1]
        scans = stretches(dataset.run)
        return cls(context.before, config.data.frames, context.after, first, last, *scans)

    @property
    def seconds(self) -> int:
        """How many a window has with its context."""
        return self.before + self.frames + self.after

    def of_samples(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The seconds of the runs that are a window's and its context's.

        Parameters
        ----------
        samples : (n,) WINDOW or SAMPLE

        Returns
        -------
        at : (n, seconds) int, second of the run; the nearest that is seen, where one is not
        seen : (n, seconds) bool
        """
        of_set, subject, movie = samples["scene_split"], samples["subject"], samples["movie"]
        begin, end = samples["second"], samples["second"] + self.frames - 1
        first = np.maximum(self.first[of_set, movie, begin], self.scan_first[subject, movie, begin])
        last = np.minimum(self.last[of_set, movie, end], self.scan_last[subject, movie, end])
        asked = begin[:, None] + np.arange(-self.before, self.frames + self.after)
        at = asked.clip(first[:, None], last[:, None])
        return at, at == asked


def answered(dataset: Dataset, lag: int) -> np.ndarray:
    """(movies, seconds) int: the set of the film that each second of BOLD answers, or ``BEFORE_FILM``."""
    movies, seconds = dataset.segment.shape
    shown = np.where(dataset.segment != 0, np.arange(seconds), -1)
    latest = np.maximum.accumulate(shown, axis=1)  # second of film, the last up to each
    of_film = np.where(latest < 0, BEFORE_FILM, np.take_along_axis(dataset.scene_split, latest.clip(0), 1))
    behind = np.full((movies, seconds), BEFORE_FILM)
    behind[:, lag:] = of_film[:, : max(0, seconds - lag)]
    return behind


def _stretches(allowed: np.ndarray) -> np.ndarray:
    """(..., seconds) int: for each second, the first of the unbroken stretch of allowed ones it is in."""
    second = np.arange(allowed.shape[-1])
    broken = np.where(allowed, -1, second)  # a stretch begins behind the last of these
    return np.minimum(np.maximum.accumulate(broken, axis=-1) + 1, second)
