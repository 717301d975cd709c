"""The retrieval test of SIM (Dahan et al., ICLR 2025): find the clip that was seen among a pool.

Every draw takes some windows to test, and for each a pool (`retrieval.pools`). fMRI looks for the stimulus (a
window's BOLD against the clips of the pool) and the stimulus for fMRI (the clip against the BOLD of the
pool).

Chance is what shifting the stimulus gives: within each movie its rows move round in a circle against the
BOLD, by 10 rows or more, which keeps the autocorrelation of both. The p-value is (1 + shifts as good or
better) / (1 + shifts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from simdata.common.errors import UserError
from simtrain.retrieval.metrics import RetrievalMetric

SMALLEST_SHIFT = 10  # rows, of one second or more
SHIFTS = 1000
ROUNDING = 1e-6  # of a cosine in float32, summed in any order


@dataclass(frozen=True)
class Score:
    """One direction of one experiment.

    Attributes
    ----------
    rank : (draws, tested) int32 of the true candidate, 1 is best
    pool : (draws, tested) int32, the number of candidates
    metrics : by their names
    p : name of a metric that has one -> p-value of its mean over all tested windows
    """

    rank: np.ndarray
    pool: np.ndarray
    metrics: Mapping[str, RetrievalMetric]
    p: Mapping[str, float]


def draw_shifts(
    rng: np.random.Generator, movie: np.ndarray, count: int, smallest: int = SMALLEST_SHIFT
) -> np.ndarray:
    """(count, rows) int64: for each shift, the stimulus row that takes the place of each row.

    Parameters
    ----------
    movie : (rows,) the movie of each stimulus row; rows are in order of time
    smallest : rows by which to shift at least
    """
    shifts = np.empty((count, len(movie)), dtype=np.int64)
    for one in np.unique(movie):
        rows = np.flatnonzero(movie == one)
        if len(rows) < 2 * smallest:
            raise UserError(
                f"a movie has only {len(rows)} clips to test: too few to know chance by shifting them"
            )
        by = rng.integers(smallest, len(rows) - smallest + 1, size=count)
        shifts[:, rows] = rows[(np.arange(len(rows)) + by[:, None]) % len(rows)]
    return shifts


def ranks(similarity: np.ndarray) -> np.ndarray:
    """Rank (1 is best) of the first candidate on the last axis, by cosine similarity.

    Against it count ties, also those that only rounding breaks, and what compares with nothing, as NaN does.
    """
    return 1 + (~(similarity[..., 1:] < similarity[..., :1] - ROUNDING)).sum(axis=-1)


def score_draws(
    fmri: np.ndarray,
    stimulus: np.ndarray,
    pools: Sequence[Sequence[np.ndarray]],
    row: np.ndarray,
    shifts: np.ndarray,
    metrics: Mapping[str, RetrievalMetric],
) -> tuple[Score, Score]:
    """Score retrieval from fMRI to the stimulus, and back.

    Goes through the tested windows one by one, each at all shifts: so pools may differ in size, and the
    memory is that of one pool times the shifts.

    Parameters
    ----------
    fmri : (units, windows, dim) embeddings: of each unit of a window, which stands against the same of others
    stimulus : (rows, dim)
    pools : for each draw and each tested window (pool,) positions of windows, the true one first
    row : (windows,) stimulus row of each window
    shifts : (1 + n, rows), the first of which leaves every row in its place
    metrics : by their names
    """
    there, back = _Tally(len(shifts), metrics), _Tally(len(shifts), metrics)
    for draw in pools:
        for unit, pool in product(fmri, draw):
            of_true = stimulus @ unit[pool[0]]
            there.add(ranks(of_true[shifts[:, row[pool]]]), len(pool))
            # Shifts give the tested window few different clips: each is compared with the pool once.
            clips, shift = np.unique(shifts[:, row[pool[0]]], return_inverse=True)
            back.add(ranks(stimulus[clips] @ unit[pool].T)[shift], len(pool))
    return there.score(len(pools)), back.score(len(pools))


class _Tally:
    """Sums up values of ranks at every shift, of which the first is none; keeps the ranks without a shift."""

    def __init__(self, shifts: int, metrics: Mapping[str, RetrievalMetric]) -> None:
        self._rank: list[int] = []
        self._pool: list[int] = []
        self._metrics = metrics
        means = {name: metric for name, metric in metrics.items() if metric.reduce == "mean"}
        self._sums = {name: np.zeros(shifts) for name in means}
        self._values = [(metric.value, self._sums[name]) for name, metric in means.items()]

    def add(self, rank: np.ndarray, pool: int) -> None:
        """One tested window: (shifts,) ranks in a pool of that size."""
        self._rank.append(int(rank[0]))
        self._pool.append(pool)
        for value, sums in self._values:
            sums += value(rank, pool)

    def score(self, draws: int) -> Score:
        rank, pool = (np.array(of, dtype=np.int32).reshape(draws, -1) for of in (self._rank, self._pool))
        p = {name: self._metrics[name].p(sums) for name, sums in self._sums.items()}
        return Score(rank, pool, self._metrics, p)
