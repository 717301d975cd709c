"""Pools of the retrieval test: a tested window and the negatives that stand against it.

A negative is a window of the same subject. Those of the same movie lie at least ``gap`` seconds away: 3 s,
or more where windows are longer or averaged, so that none shares a moment with the tested one.

* soft: drawn at random from anywhere in the movie (or, cross-movie, in all other movies);
* hard: the windows of the same movie nearest in time to the tested one outside the gap, before or after it,
  from the same film clip or its neighbours. Of two at the same distance the earlier goes first;
* the whole movie: all of them.
"""

from __future__ import annotations

import numpy as np

from simdata.common.errors import UserError
from simtrain.retrieval.protocol import Protocol

NEAREST = 3  # s, the paper's: nearer windows share frames with the tested one


def gap(protocol: Protocol, window: int) -> int:
    """Seconds between the starts of a tested window and its nearest negative of the same movie.

    Parameters
    ----------
    window : s that one window covers, the longer of its BOLD and its clip
    """
    return max(NEAREST, window) + protocol.average_windows - 1


def draw_pools(
    rng: np.random.Generator, windows: np.ndarray, protocol: Protocol, apart: int, name: str
) -> list[np.ndarray]:
    """One draw: for every tested window (pool,) int64 positions in ``windows``, the true one first.

    Parameters
    ----------
    windows : (n,) WINDOW, of one experiment
    apart : s, from `gap`
    name : of the experiment, for messages

    Raises
    ------
    UserError
        If a tested window has fewer negatives than the pool needs.
    """
    tested = rng.choice(len(windows), size=min(protocol.clips, len(windows)), replace=False)
    negatives = [_negatives(windows, true, protocol, apart) for true in tested]
    fewest, wanted = min(map(len, negatives)), protocol.pool_negatives
    if fewest == 0 or (wanted is not None and fewest < wanted):
        advice = (
            f"use `pool` {fewest + 1} or less, or other `negatives`" if fewest else "use other `negatives`"
        )
        raise UserError(f"{name}: a window has only {fewest} {protocol.negatives} negatives; {advice}")
    if wanted is not None and not protocol.hard:
        negatives = [rng.choice(candidates, wanted, replace=False) for candidates in negatives]
    return [np.concatenate([[true], chosen]) for true, chosen in zip(tested, negatives, strict=True)]


def _negatives(windows: np.ndarray, true: int, protocol: Protocol, apart: int) -> np.ndarray:
    """Positions of the windows that may stand against window ``true``, hard ones already chosen."""
    same_subject = windows["subject"] == windows["subject"][true]
    same_movie = windows["movie"] == windows["movie"][true]
    if protocol.negatives == "cross-movie":
        return np.flatnonzero(same_subject & ~same_movie)
    distance = np.abs(windows["second"] - windows["second"][true])
    far = np.flatnonzero(same_subject & same_movie & (distance >= apart))
    if not protocol.hard:
        return far
    # Windows are in order of time, so a stable sort puts the earlier of two equally near ones first.
    return far[np.argsort(distance[far], kind="stable")][: protocol.pool_negatives]
