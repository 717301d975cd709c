"""The moments of runs that training may learn from (``data.moments``).

`simtrain.data.windows` has the rule for ``clips``, which tests always go by. The published code takes more:
any second of a run (``any``), or those at which a scene of training is on screen (``shown``), each with the
clip ``lag`` s before, or the film's first where that would be earlier. Here a window must still lie in one
set: of the seconds of its clip, of those that its BOLD answers, and with ``shown`` of those on screen, none
may be of another set of scenes, or of the guard between sets. Rest, and the test-retest clip, are in no set,
and go with any; alone they count as training. So no BOLD of a training window answers a held-out scene or the
guard, nor is its clip of one.
"""

from __future__ import annotations

import numpy as np

from simtrain.data.dataset import SPLITS, Dataset
from simtrain.data.scan_rows import near_held_out, touches
from simtrain.data.windows import TRAIN, Windows, of_all_subjects


def find_moments(used: Windows, moments: str) -> np.ndarray:
    """(n,) WINDOW: all that ``data.moments`` allows, of all sets, by subject, movie and second."""
    if moments == "clips":
        return used.find()
    dataset, seconds = used.dataset, np.arange(used.dataset.segment.shape[1])
    movie, second = np.nonzero(seconds + used.frames <= dataset.volumes[:, None])
    clip = np.maximum(second - used.lag, 0)
    held = [_stretch(clip, used.span), _stretch(second - used.lag, used.frames)]
    usable = np.ones(len(movie), bool)
    for embedding in used.embeddings.values():
        usable &= ~np.isnan(embedding.values[movie, clip]).any(axis=1)
    if moments == "shown":
        held.append(_stretch(second, used.frames))
        usable &= _in_one_scene(dataset, movie, held[-1])
    sets = _at(dataset.scene_split, movie, np.concatenate(held, axis=1))
    first, last = np.where(sets > 0, sets, np.iinfo(sets.dtype).max).min(axis=1), sets.max(axis=1)
    usable &= ((last == 0) | (first == last)) & (last < len(SPLITS))
    split = np.where(last == 0, TRAIN, last)
    near = near_held_out(dataset, used.lag, SPLITS)
    usable &= ~touches(near, np.where(usable, split, 0), movie, second, used.frames)
    movie, clip, second, split = movie[usable], clip[usable], second[usable], split[usable]
    return of_all_subjects(dataset, movie, clip, second, split, used.frames)


def _stretch(first: np.ndarray, length: int) -> np.ndarray:
    """(n, length): the seconds from each of ``first`` on."""
    return first[:, None] + np.arange(length)


def _at(table: np.ndarray, movie: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """(n, seconds) of ``table`` (movies, seconds); 0 before and behind it."""
    inside = (seconds >= 0) & (seconds < table.shape[1])
    return np.where(inside, table[movie[:, None], np.where(inside, seconds, 0)], 0)


def _in_one_scene(dataset: Dataset, movie: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """(n,) bool: whether all ``seconds`` (n, length) are of one clip and one set of scenes."""
    scenes, segments = (_at(table, movie, seconds) for table in (dataset.scene_split, dataset.segment))
    return (scenes[:, 0] > 0) & ((scenes == scenes[:, :1]) & (segments == segments[:, :1])).all(axis=1)
