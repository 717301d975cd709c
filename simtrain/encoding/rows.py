"""The seconds that an encoding model is fitted and tested in: BOLD, and the clips of the film before it."""

from __future__ import annotations

import numpy as np

from simtrain.data.dataset import SPLITS, Dataset
from simtrain.data.scan_rows import near_held_out, touches
from simtrain.data.windows import within_scene

ROW = np.dtype([("movie", "i4"), ("clip", "i4")])  # BOLD at clip + lag, and the clips around it


def rows_of(dataset: Dataset, clips: np.ndarray, split: int, delays: np.ndarray, lag: int) -> np.ndarray:
    """(n,) ROW of one set of scenes, by movie and time: no delay leads to a clip of another scene.

    None of training shares a volume with BOLD that answers a held-out scene (`simtrain.data.scan_rows`).

    Parameters
    ----------
    clips : (movies, seconds) as `simtrain.data.windows.clip_split` gives
    delays : (delays,) int, s after the lag, in order
    """
    movie, clip = np.nonzero(clips == split)
    usable = within_scene(dataset, movie, clip, -delays[-1], -delays[0])
    usable &= has_bold(dataset, movie, clip, lag)
    near = near_held_out(dataset, lag, SPLITS)
    usable &= ~touches(near, np.full(len(movie), split), movie, clip + lag, 1)
    movie, clip = movie[usable], clip[usable]
    around = clips[movie[:, None], clip[:, None] - delays]
    return as_rows(movie, clip)[(around == split).all(axis=1)]


def has_bold(dataset: Dataset, movie: np.ndarray, clip: np.ndarray, lag: int) -> np.ndarray:
    """(n,) bool: whether runs reach as far as ``lag`` s after the clip's beginning."""
    return (clip + lag >= 0) & (clip + lag < dataset.volumes[movie])


def seen_by(dataset: Dataset, subject: int, rows: np.ndarray, lag: int) -> np.ndarray:
    """(...) bool: whether a subject has usable BOLD of ``rows`` (...) ROW."""
    return np.asarray(dataset.run[subject, rows["movie"], rows["clip"] + lag] > 0)


def as_rows(movie: np.ndarray, clip: np.ndarray) -> np.ndarray:
    """(n,) ROW."""
    rows = np.empty(len(movie), ROW)
    rows["movie"], rows["clip"] = movie, clip
    return rows


def film_clips(dataset: Dataset, rows: np.ndarray) -> int:
    """Of how many clips of the film, as the catalog names them, rows are."""
    segment = dataset.segment[rows["movie"], rows["clip"]]
    return len(set(zip(rows["movie"].tolist(), segment.tolist(), strict=True)))
