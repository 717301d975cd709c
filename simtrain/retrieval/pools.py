"""Pools of the retrieval test: a tested window and the negatives that stand against it.

A negative is a window of the same subject. Those of the same movie lie at least ``gap`` seconds away: 3 s,
or more where windows are longer or averaged, so that none shares a moment with the tested one, unless the
protocol has another gap.

* ``same-movie``: drawn from anywhere in the movie;
* ``other-clips``: from the movie's other film clips that are in the same sets;
* ``other-clips-or-retest``: from these, and from film clips in no set, such as the test-retest clip, as the
  published code's ``inter_movie_sample``;
* ``same-clip``: from the film clip of the tested one, which the paper calls hard (``intra_movie_sample``);
* ``nearest``: not drawn, but those nearest in time outside the gap, before or after. Of two at the same
  distance the earlier goes first;
* ``cross-movie``: from all other movies;
* with a pool of the whole movie: all of it.

Tested are all windows, against all candidates from which a pool could be drawn; or windows and pools are
drawn: windows of all together, or, as the published code does it, of each run by itself:
one of the film clips in it, however long, and a second of that, so that a window may be drawn again.
Hemispheres share the windows and pools of their run. Every modality of the stimulus begins with the same
random numbers, so that its pools do not depend on what else is tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simdata.common.errors import UserError
from simtrain.retrieval.protocol import OR_RETEST, Protocol

NEAREST = 3  # s, the paper's: nearer windows share frames with the tested one


@dataclass(frozen=True)
class Contest:
    """Tested windows of one subject, and all that may stand against each in a pool.

    Attributes
    ----------
    windows : (n,) positions of the windows that take part
    tested : (m,) which of these are tested
    against : (m, n) bool, which are candidates beside the true one
    pool : (m,) int, how many a pool has, the true one included
    """

    windows: np.ndarray
    tested: np.ndarray
    against: np.ndarray
    pool: np.ndarray


def gap(protocol: Protocol, window: int) -> int:
    """Seconds between the starts of a tested window and its nearest negative of the same movie.

    Parameters
    ----------
    window : s that one window covers, the longer of its BOLD and its clip
    """
    least = max(NEAREST, window) if protocol.gap is None else protocol.gap
    assert isinstance(least, int)
    return least + protocol.average_windows - 1


def draw_pools(
    rng: np.random.Generator,
    windows: np.ndarray,
    film_clip: np.ndarray,
    protocol: Protocol,
    apart: int,
    name: str,
) -> list[np.ndarray]:
    """One draw: for every tested window (pool,) int64 positions in ``windows``, the true one first.

    Parameters
    ----------
    windows : (n,) WINDOW, of one experiment; those in no set are candidates alone
    film_clip : (n,) the code of the film clip of each, within its movie
    protocol : of one modality (`Protocol.of`)
    apart : s, from `gap`
    name : of the experiment, for messages

    Raises
    ------
    UserError
        If a tested window has fewer negatives than the pool needs.
    """
    tested = _tested(rng, windows, film_clip, protocol)
    negatives = [candidates_of(windows, film_clip, true, protocol, apart) for true in tested]
    _must_fill_pools(list(map(len, negatives)), protocol, name)
    wanted = protocol.pool_negatives
    if wanted is not None and protocol.negatives != "nearest":
        negatives = [rng.choice(candidates, wanted, replace=False) for candidates in negatives]
    return [np.concatenate([[true], chosen]) for true, chosen in zip(tested, negatives, strict=True)]


def all_pools(
    windows: np.ndarray, film_clip: np.ndarray, protocol: Protocol, apart: int, name: str
) -> list[Contest]:
    """Every window that is in a set, with all of its candidates; as `draw_pools`, without a draw.

    Those of a subject and a movie come together, or of a subject where other movies stand against them, in
    the order of ``windows``.
    """
    keys = ["subject"] if protocol.negatives == "cross-movie" else ["subject", "movie"]
    _, group = np.unique(windows[keys], return_inverse=True)
    of_groups = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    # The test-retest clip stands in a movie that may have nothing to test.
    tested = [own for own in of_groups if windows["scene_split"][own].any()]
    contests = [_contest(own, windows[own], film_clip[own], protocol, apart) for own in tested]
    _must_fill_pools(np.concatenate([one.against.sum(axis=1) for one in contests]), protocol, name)
    return contests


def _contest(
    own: np.ndarray, windows: np.ndarray, film_clip: np.ndarray, protocol: Protocol, apart: int
) -> Contest:
    tested = np.flatnonzero(windows["scene_split"])
    against = np.zeros((len(tested), len(own)), bool)
    for negatives, true in zip(against, tested.tolist(), strict=True):
        negatives[candidates_of(windows, film_clip, true, protocol, apart)] = True
    drawn, all_of_them = protocol.pool_negatives, against.sum(axis=1)
    pool = 1 + (all_of_them if drawn is None else np.full(len(tested), drawn))
    return Contest(own, tested, against, pool)


def _must_fill_pools(negatives: Sequence[int] | np.ndarray, protocol: Protocol, name: str) -> None:
    fewest, wanted = min(negatives), protocol.pool_negatives
    if fewest == 0 or (wanted is not None and fewest < wanted):
        smaller = f"`pool` {fewest + 1} or less, " if fewest else ""
        raise UserError(
            f"{name}: a window has only {fewest} {protocol.negatives} negatives; use {smaller}other "
            "`negatives` or another `experiment`"
        )


def _tested(
    rng: np.random.Generator, windows: np.ndarray, film_clip: np.ndarray, protocol: Protocol
) -> np.ndarray:
    """Positions of the windows to test."""
    in_set = np.flatnonzero(windows["scene_split"])
    if protocol.clips_of == "experiment":
        return in_set[rng.choice(len(in_set), size=min(protocol.drawn_clips, len(in_set)), replace=False)]
    _, run = np.unique(windows[in_set][["subject", "movie"]], return_inverse=True)
    of_runs = (in_set[run == one] for one in range(run.max() + 1))
    return np.concatenate([_of_run(rng, own, film_clip, protocol.drawn_clips) for own in of_runs])


def _of_run(rng: np.random.Generator, own: np.ndarray, film_clip: np.ndarray, count: int) -> np.ndarray:
    """``count`` of a run's positions ``own``: every film clip is as likely, and every window in it."""
    of_clips = [own[film_clip[own] == clip] for clip in np.unique(film_clip[own])]
    return np.array([rng.choice(of_clips[clip]) for clip in rng.integers(len(of_clips), size=count)])


def candidates_of(
    windows: np.ndarray, film_clip: np.ndarray, true: int, protocol: Protocol, apart: int
) -> np.ndarray:
    """Positions of the windows that may stand against window ``true``; the nearest are already chosen."""
    same_subject = windows["subject"] == windows["subject"][true]
    same_movie = windows["movie"] == windows["movie"][true]
    if protocol.negatives == "cross-movie":
        return np.flatnonzero(same_subject & ~same_movie)
    distance = np.abs(windows["second"] - windows["second"][true])
    far = same_subject & same_movie & (distance >= apart)
    if protocol.negatives == "same-clip":
        return np.flatnonzero(far & (film_clip == film_clip[true]))
    if protocol.negatives in ("other-clips", OR_RETEST):
        return np.flatnonzero(far & (film_clip != film_clip[true]))
    found = np.flatnonzero(far)
    if protocol.negatives == "same-movie":
        return found
    # Windows are in order of time, so a stable sort puts the earlier of two equally near ones first.
    return found[np.argsort(distance[found], kind="stable")][: protocol.pool_negatives]
