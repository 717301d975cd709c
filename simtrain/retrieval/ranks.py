"""Ranks of true candidates, and what a metric comes to by them, over all pools that could be drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from simtrain.common.pool_ranks import rank_probabilities
from simtrain.retrieval.metrics import RetrievalMetric


@dataclass(frozen=True)
class Ranks:
    """Tested windows. Where pools were drawn, the candidates are those of a window's pool.

    Attributes
    ----------
    rank : int32 of any shape, of the true candidate among all of its candidates; 1 is best
    candidates : int32 of the same shape, how many there are, the true one included
    pool : int32 of the same shape, how many of them a pool has, the true one included
    """

    rank: np.ndarray
    candidates: np.ndarray
    pool: np.ndarray

    def __getitem__(self, which: Any) -> Ranks:
        return Ranks(self.rank[which], self.candidates[which], self.pool[which])

    def ravel(self) -> Ranks:
        """The same in one row."""
        return Ranks(self.rank.ravel(), self.candidates.ravel(), self.pool.ravel())

    def alike(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """Candidates, pool, and which (bool, of the shape of all) have both."""
        for candidates, pool in np.unique(np.stack([self.candidates.ravel(), self.pool.ravel()]), axis=1).T:
            yield int(candidates), int(pool), (self.candidates == candidates) & (self.pool == pool)


def expected(metric: RetrievalMetric, ranks: Ranks) -> np.ndarray:
    """float64 of the shape of ranks: the mean of the metric's values over all pools."""
    found = np.empty(ranks.rank.shape)
    for candidates, pool, own in ranks.alike():
        found[own] = expected_of_ranks(metric, candidates, pool)[ranks.rank[own] - 1]
    return found


def expected_of_ranks(metric: RetrievalMetric, candidates: int, pool: int) -> np.ndarray:
    """(candidates,) float64: the mean of values over all pools, for each rank among all candidates."""
    values = metric.value(np.arange(1, pool + 1), pool)
    return values.astype(float) if pool == candidates else rank_probabilities(candidates, pool) @ values


class Spread:
    """How often each value of a metric is met, over groups of tested windows and all of their pools.

    Parameters
    ----------
    groups : how many there are
    """

    def __init__(self, metric: RetrievalMetric, groups: int) -> None:
        self._metric, self._groups = metric, groups
        self._mass: dict[float, np.ndarray] = {}

    def add(self, times: np.ndarray, candidates: int, pool: int) -> None:
        """Add windows: (groups, candidates), how many there are of each rank among all candidates."""
        mass = times if pool == candidates else times @ rank_probabilities(candidates, pool)
        for value, own in zip(self._metric.value(np.arange(1, pool + 1), pool), mass.T, strict=True):
            self._mass.setdefault(float(value), np.zeros(self._groups))
            self._mass[float(value)] += own

    def medians(self) -> np.ndarray:
        """(groups,) medians of the values; NaN of a group without windows."""
        values = np.array(sorted(self._mass))
        upto = np.cumsum([self._mass[value] for value in values], axis=0)
        half, slack = upto[-1] / 2, 1e-9 * upto[-1]
        # Both in the middle, which differ where a value ends at half of all.
        lower = values[np.argmax(upto >= half - slack, axis=0)]
        upper = values[np.argmax(upto > half + slack, axis=0)]
        return np.where(upto[-1] > 0, (lower + upper) / 2, np.nan)


def figures(metric: RetrievalMetric, ranks: Ranks, group: np.ndarray, groups: int) -> np.ndarray:
    """(groups,) the figure of each group of tested windows: the mean or the median of the metric's values.

    Parameters
    ----------
    group : of the shape of ranks, which group each window is of, from 0
    """
    if metric.reduce == "mean":
        total = np.bincount(group.ravel(), expected(metric, ranks).ravel(), groups)
        return total / np.bincount(group.ravel(), minlength=groups)
    spread = Spread(metric, groups)
    for candidates, pool, own in ranks.alike():
        place = group[own] * candidates + ranks.rank[own] - 1
        spread.add(np.bincount(place, minlength=groups * candidates).reshape(groups, -1), candidates, pool)
    return spread.medians()


def figure(metric: RetrievalMetric, ranks: Ranks) -> float:
    """The figure of all tested windows together."""
    return float(figures(metric, ranks, np.zeros(ranks.rank.shape, int), 1)[0])
