"""Which rows of BOLD belong together: those of one scan, one after another, and those that share volumes.

A store's ``run`` says of which scan each row is, and which are not to be used: they were scrubbed, or are not
there. Rows of one scan less than ``reach`` seconds apart were interpolated from some of the same volumes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from simtrain.data.dataset import Dataset

HELD_OUT = {"train": ("val", "test"), "val": ("test",)}  # sets whose film a set's BOLD may not be made of


def window_starts(run: np.ndarray, frames: int) -> np.ndarray:
    """(subjects, movies, seconds) bool: whether ``frames`` rows from there on are of one scan, and usable.

    Parameters
    ----------
    run : (subjects, movies, seconds) int, as the store has it
    """
    starts = run > 0
    for later in range(1, frames):
        starts[..., :-later] &= run[..., later:] == run[..., :-later]
        starts[..., -later:] = False
    return starts


def stretches(run: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last second of the unbroken stretch of usable rows of one scan that each row is in.

    (subjects, movies, seconds) int32 each; a row that is not usable is a stretch by itself.
    """
    second = np.arange(run.shape[-1], dtype=np.int32)
    begins = np.ones(run.shape, bool)
    begins[..., 1:] = (run[..., 1:] != run[..., :-1]) | (run[..., 1:] <= 0)
    first = np.maximum.accumulate(np.where(begins, second, 0), axis=-1)
    ends = np.ones(run.shape, bool)
    ends[..., :-1] = begins[..., 1:]
    last = np.minimum.accumulate(np.where(ends, second, second[-1])[..., ::-1], axis=-1)[..., ::-1]
    return first, last


class ScanEnds:
    """Where delays that lead out of a scan end: at its first or last usable row."""

    def __init__(self, dataset: Dataset) -> None:
        self._first, self._last = stretches(dataset.run)
        self._volumes = dataset.volumes

    def within(self, subject: int, movie: int, second: np.ndarray, delays: np.ndarray) -> np.ndarray:
        """(n, delays) int: every second + delay, or the end of the scan that it leads out of.

        Parameters
        ----------
        second : (n,) int, usable rows of the run
        """
        first, last = (ends[subject, movie, second][:, None] for ends in (self._first, self._last))
        return np.clip(second[:, None] + delays, first, last).clip(max=self._volumes[movie] - 1)


def near_held_out(dataset: Dataset, lag: int, sets: tuple[str, ...]) -> np.ndarray:
    """(sets, movies, seconds) bool: rows that share volumes with rows that answer film held out from a set.

    ``sets`` name the first axis. Without interpolation there are none, since no window has such a row itself.
    """
    near = np.zeros((len(sets), *dataset.scene_split.shape), bool)
    film = np.arange(near.shape[2]) - lag  # that each row answers
    shown = (film >= 0) & (film < len(film))
    for place, name in enumerate(sets):
        held = np.isin(dataset.scene_split, [sets.index(other) for other in HELD_OUT.get(name, ())])
        answers = held[:, np.where(shown, film, 0)] & shown
        for movie in np.flatnonzero(dataset.reach):
            within = np.ones(2 * int(dataset.reach[movie]) - 1, int)
            near[place, movie] = _widened(answers[movie], within)
    return near


def _widened(rows: np.ndarray, within: np.ndarray) -> np.ndarray:
    return np.convolve(rows, within)[len(within) // 2 :][: len(rows)] > 0


def touches(
    table: np.ndarray, sets: np.ndarray, movie: np.ndarray, second: np.ndarray, frames: int
) -> np.ndarray:
    """(n,) bool: whether any of ``frames`` rows from ``second`` on is in a table of `near_held_out`."""
    if not table.any():
        return np.zeros(len(movie), bool)
    at = second[:, None] + np.arange(frames)
    return np.asarray(table[sets[:, None], movie[:, None], at.clip(0, table.shape[2] - 1)].any(axis=1))
