"""What is tested: single windows, or means over seconds and over subjects.

A unit is written as the WINDOW it begins with. The mean over K seconds takes the windows of K consecutive
seconds whose clips lie in the same film clip; the mean over subjects all subjects that have the window, and
its subject is ``EVERYONE``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np

EVERYONE = -1


def find_units(windows: np.ndarray, segment: np.ndarray, seconds: int, subjects: bool) -> np.ndarray:
    """(n,) WINDOW: all units that ``windows`` make, in their order.

    Parameters
    ----------
    windows : (m,) WINDOW, of one experiment
    segment : (movies, seconds) the film clip of each second
    seconds : how many to average over
    subjects : whether to average over all
    """
    units = windows[_goes_on(windows, segment, seconds)]
    if not subjects:
        return units
    _, first = np.unique(units[["movie", "second"]], return_index=True)
    units = units[first]
    units["subject"] = EVERYONE
    return units


def film_clips(windows: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """int of the shape of windows: the film clip of each, counted from 0 over all movies."""
    clip = np.stack([windows["movie"], segment[windows["movie"], windows["clip"]]], axis=-1)
    return np.unique(clip.reshape(-1, 2), axis=0, return_inverse=True)[1].reshape(windows.shape)


def members(units: np.ndarray, windows: np.ndarray, seconds: int) -> np.ndarray:
    """(m,) bool: which of ``windows`` take part in a mean of ``units``."""
    wanted = _Table(windows, False)
    for later in range(seconds):
        wanted[units, later] = True
    return wanted[windows, 0]


def average_fmri(units: np.ndarray, windows: np.ndarray, vectors: np.ndarray, seconds: int) -> np.ndarray:
    """(units, dim) float32 of unit length: the mean over the members of each unit.

    Parameters
    ----------
    windows : (m,) WINDOW, all members of ``units`` among them
    vectors : (m, dim) their embeddings
    """
    place = _Table(windows, -1)
    place[windows, 0] = np.arange(len(windows))
    total = np.zeros((len(units), vectors.shape[1]), dtype=np.float32)
    everyone = len(units) > 0 and units["subject"][0] == EVERYONE
    for subject in np.unique(windows["subject"]) if everyone else [None]:
        one = units if subject is None else _of(units, subject)
        for later in range(seconds):
            position = place[one, later]
            total[position >= 0] += vectors[position[position >= 0]]
    return _unit_length(total)


def average_clips(
    embed: Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]],
    movie: np.ndarray,
    clip: np.ndarray,
    seconds: int,
) -> dict[str, np.ndarray]:
    """(n, dim) float32 of every modality: the mean over the clips from ``clip`` on, of unit length.

    Parameters
    ----------
    embed : gives the embeddings of clips by movie and second
    """
    later = [embed(movie, clip + by) for by in range(seconds)]
    return {modality: _unit_length(reduce(np.add, (one[modality] for one in later))) for modality in later[0]}


def _goes_on(windows: np.ndarray, segment: np.ndarray, seconds: int) -> np.ndarray:
    """(n,) bool: whether the seconds after each window have one as well, in the same film clip."""
    exists = _Table(windows, False)
    exists[windows, 0] = True
    whole = np.ones(len(windows), dtype=bool)
    for later in range(1, seconds):
        whole &= exists[windows, later]
        on = windows[whole]
        whole[whole] = segment[on["movie"], on["clip"] + later] == segment[on["movie"], on["clip"]]
    return whole


class _Table:
    """A value for every subject, movie and second, written and read by windows."""

    def __init__(self, windows: np.ndarray, empty: bool | int) -> None:
        shape = [int(windows[axis].max()) + 1 for axis in ("subject", "movie", "second")]
        self._values, self._empty = np.full(shape, empty), empty

    def __setitem__(self, index: tuple[np.ndarray, int], value: np.ndarray | bool) -> None:
        windows, later = index
        self._values[self._place(windows, later)] = value

    def __getitem__(self, index: tuple[np.ndarray, int]) -> np.ndarray:
        windows, later = index
        inside = windows["second"] + later < self._values.shape[2]
        found = np.full(len(windows), self._empty)
        found[inside] = self._values[self._place(windows[inside], later)]
        return found

    def _place(self, windows: np.ndarray, later: int) -> tuple[np.ndarray | slice, np.ndarray, np.ndarray]:
        everyone = len(windows) > 0 and windows["subject"][0] == EVERYONE
        subject = slice(None) if everyone else windows["subject"]
        return subject, windows["movie"], windows["second"] + later


def _of(units: np.ndarray, subject: int) -> np.ndarray:
    own = units.copy()
    own["subject"] = subject
    return own


def _unit_length(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)  # what has no direction stays 0
