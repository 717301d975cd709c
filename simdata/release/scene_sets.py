"""The sets of a catalog's seconds of film: which second is in which, and how far apart sets are.

A guard keeps the sets of one run apart, be they parts of a clip or clips one after another, since what is
near in time is alike: film of one scene, BOLD that still answers the scene before, and slow noise. The
frontier of two sets lies midway between the end of the one's film and the beginning of the other's, and
film nearer to a frontier than half the guard belongs to no set. Hence film of two sets, of which a frontier
is always in between, is the whole guard apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simdata.common.errors import UserError
from simdata.release.catalog import Catalog
from simdata.release.splits import GUARD, SCENES, SPLITS

NEAR = 20  # s, within which film counts as near to that of another set


def scene_sets(catalog: Catalog) -> np.ndarray:
    """(movies, seconds) int8: what each second of film is, a position in ``SCENES``."""
    codes: dict[str | None, int] = {None: 0, **{split: SCENES.index(split) for split in SPLITS}}
    table = np.zeros((len(catalog.movies), catalog.seconds), np.int8)
    scenes = catalog.splits.scenes
    for row, movie in zip(table, catalog.movies, strict=True):
        for segment in movie.clips:
            for second in range(segment.start, segment.stop):
                row[second] = codes[scenes.of(movie.name, segment, second)]
        row[_guarded(row, scenes.guard)] = SCENES.index(GUARD)
    _check_repeats(catalog, table)
    return table


def _check_repeats(catalog: Catalog, table: np.ndarray) -> None:
    """Raise a UserError if a second of a film that was seen again is in one set here and another there."""
    films = catalog.films_of_movies
    for place, (movie, film) in enumerate(zip(catalog.movies, films, strict=True)):
        first = films.index(film)
        apart = (table[place] != table[first]) & (np.minimum(table[place], table[first]) > 0)
        if apart.any():
            second = int(np.flatnonzero(apart)[0])
            one, other = (SCENES[table[row, second]] for row in (first, place))
            raise UserError(
                f"catalog {catalog.name}: {movie.name} is the film of {film} again, and "
                f"second {second} of it is {one} in one and {other} in the other; give both the same sets"
            )


def _guarded(sets: np.ndarray, guard: int) -> np.ndarray:
    """(seconds,) bool: film of a run within half the guard of a frontier."""
    film = np.flatnonzero(sets)
    changes = np.flatnonzero(np.diff(sets[film]))
    frontiers = (film[changes] + 1 + film[changes + 1]) / 2
    middles = np.arange(len(sets))[:, None] + 0.5
    near = np.any(np.abs(middles - frontiers) < (guard + 1) / 2, axis=1)
    return np.logical_and(near, sets > 0)


@dataclass(frozen=True)
class SceneSet:
    """The film of one set.

    Attributes
    ----------
    seconds : of film
    windows : stretches of ``frames`` s that lie in one clip and in the set, which begin 1 s apart
    nearest : s between its film and training film of the same run where they are nearest; None if they share
        no run
    near : share of its seconds with training film within ``NEAR`` s
    """

    seconds: int
    windows: int
    nearest: int | None
    near: float


def described(catalog: Catalog, frames: int) -> dict[str, SceneSet]:
    """Each set of a catalog's scenes, and its guard; `SceneSet.windows` are of ``frames`` s."""
    table = scene_sets(catalog)
    clips = np.zeros(table.shape, int)
    for row, movie in enumerate(catalog.movies):
        for number, segment in enumerate(movie.clips, start=1):
            clips[row, segment.start : segment.stop] = number
    training = table == SCENES.index("train")
    return {
        name: _described(table == SCENES.index(name), clips, training, frames) for name in (*SPLITS, GUARD)
    }


def _described(here: np.ndarray, clips: np.ndarray, training: np.ndarray, frames: int) -> SceneSet:
    clip = np.where(here, clips, 0)
    starts = max(clip.shape[1] - frames + 1, 0)
    whole = (clip > 0)[:, :starts]
    for later in range(1, frames):
        whole &= clip[:, later : later + starts] == clip[:, :starts]
    distances = np.concatenate([_distances(*rows) for rows in zip(here, training, strict=True)])
    nearest = int(distances.min()) if np.isfinite(distances).any() else None
    return SceneSet(
        int(here.sum()), int(whole.sum()), nearest, float((distances < NEAR).mean()) if here.any() else 0.0
    )


def _distances(here: np.ndarray, training: np.ndarray) -> np.ndarray:
    """(n,) s of time between each second of ``here`` and the nearest of training in its run; inf if none."""
    seconds, film = np.flatnonzero(here), np.flatnonzero(training)
    if not len(film):
        return np.full(len(seconds), np.inf)
    return np.min(np.abs(seconds[:, None] - film), axis=1) - 1.0
