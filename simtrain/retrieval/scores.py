"""Scores of the retrieval test: what ranks come to, and what they come to by chance.

Chance is what shifting the stimulus gives: within each movie its rows move round in a circle against the
BOLD, by 10 rows or more, which keeps the autocorrelation of both. The p-value is (1 + shifts as good or
better) / (1 + shifts).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simdata.common.errors import UserError
from simtrain.retrieval.metrics import RetrievalMetric
from simtrain.retrieval.ranks import Ranks, Spread, expected_of_ranks

SMALLEST_SHIFT = 10  # rows, of one second or more
SHIFTS = 1000
CHANCE_BOUND = 0.95
ROUNDING = 1e-6  # of a cosine in float32, summed in any order
SLACK = 1e-9  # of a figure, summed in another order


@dataclass(frozen=True)
class Score:
    """One direction of one experiment.

    Attributes
    ----------
    ranks : (draws, tested) of the true candidates
    metrics : by their names
    figures : name of a metric -> (1 + shifts,) float64, its figure over all draws: first as it is, then at
        every shift
    """

    ranks: Ranks
    metrics: Mapping[str, RetrievalMetric]
    figures: Mapping[str, np.ndarray]

    def p(self, name: str) -> float:
        """p-value of a metric's figure: the share of figures, its own among them, that are as good."""
        good = self.metrics[name].good(self.figures[name])
        return float((good >= good[0] - SLACK * abs(good[0])).mean())

    def chance(self, name: str) -> tuple[float, float]:
        """The mean of a metric's figures over shifts, and that which 95 % of them do not surpass."""
        metric, shifted = self.metrics[name], self.figures[name][1:]
        bound = metric.good(np.quantile(metric.good(shifted), CHANCE_BOUND))
        return float(shifted.mean()), float(bound)


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


class RankTally:
    """Collects ranks, and what metrics come to at every shift, of which the first is none."""

    def __init__(self, shifts: int, metrics: Mapping[str, RetrievalMetric]) -> None:
        self._shifts, self._metrics = shifts, metrics
        self._ranks: list[Ranks] = []
        self._sums = {name: np.zeros(shifts) for name, one in metrics.items() if one.reduce == "mean"}
        self._spreads = {
            name: Spread(metric, shifts) for name, metric in metrics.items() if metric.reduce == "median"
        }

    def add(self, rank: np.ndarray, candidates: np.ndarray, pool: np.ndarray) -> None:
        """Add tested windows: (shifts, n) ranks among (n,) candidates, of which pools are drawn."""
        kept = Ranks(*(of.astype(np.int32) for of in (rank[0], candidates, pool)))
        self._ranks.append(kept)
        for among, drawn, own in kept.alike():
            place = np.arange(self._shifts)[:, None] * among + rank[:, own] - 1
            times = np.bincount(place.ravel(), minlength=self._shifts * among).reshape(self._shifts, among)
            for name, sums in self._sums.items():
                sums += times @ expected_of_ranks(self._metrics[name], among, drawn)
            for spread in self._spreads.values():
                spread.add(times, among, drawn)

    def score(self, draws: int) -> Score:
        parts = ([getattr(one, name) for one in self._ranks] for name in ("rank", "candidates", "pool"))
        ranks = Ranks(*(np.concatenate(of).reshape(draws, -1) for of in parts))
        means = {name: sums / ranks.rank.size for name, sums in self._sums.items()}
        medians = {name: spread.medians() for name, spread in self._spreads.items()}
        return Score(ranks, self._metrics, {name: (means | medians)[name] for name in self._metrics})
