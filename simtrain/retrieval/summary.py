"""Scores as figures with their spread: over draws, over rows, over subjects, and beside chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simtrain.retrieval.intervals import Crossed, Interval
from simtrain.retrieval.metrics import RetrievalMetric
from simtrain.retrieval.ranks import Ranks, expected, figures
from simtrain.retrieval.scores import Score


class Measure(NamedTuple):
    """One figure of one direction of retrieval.

    ``mean`` is over tested windows and their pools; a median where the metric is one. Of its spread,
    ``sd_over_draws`` says how far the drawing of windows and pools moves it, None if nothing is drawn or
    once; ``sd_over_rows`` how far rows, each a subject, a movie and a hemisphere (or what is tested of it),
    differ, None for one row: it is what the published code gives; ``interval`` (95 %) is for other subjects
    and other film clips (`simtrain.retrieval.intervals`), None if there are few of one, and of a median.
    ``chance`` is the mean of the figure over shifts of the stimulus, ``chance_95`` what 95 % of shifts do not
    surpass, and ``nominal`` what is expected if all ranks in a pool are as likely; ``p`` is against shifts.
    """

    mean: float
    sd_over_draws: float | None
    sd_over_rows: float | None
    interval: Interval | None
    chance: float
    chance_95: float
    nominal: float
    p: float


def rows_of(tested: np.ndarray, units: int) -> np.ndarray:
    """(draws, tested) int: which subject, movie and unit each tested window is of, counted from 0.

    Parameters
    ----------
    tested : (draws, tested) WINDOW, once for each of the units in turn
    """
    unit = np.repeat(np.arange(units), tested.shape[1] // units)
    keys = np.stack([tested["subject"], tested["movie"], np.broadcast_to(unit, tested.shape)], axis=-1)
    _, row = np.unique(keys.reshape(-1, 3), axis=0, return_inverse=True)
    return row.reshape(tested.shape)


def summarise(score: Score, both: Crossed, row: np.ndarray) -> dict[str, Measure]:
    """The figures of all metrics of a score, by their names.

    Parameters
    ----------
    both : of the tested windows
    row : (draws, tested) as `rows_of` gives
    """
    return {name: _measure(score, name, both, row) for name in score.metrics}


def _measure(score: Score, name: str, both: Crossed, row: np.ndarray) -> Measure:
    metric, ranks = score.metrics[name], score.ranks
    draw = np.indices(row.shape)[0]
    of_draws, of_rows = (_sd(figures(metric, ranks, group, int(group.max()) + 1)) for group in (draw, row))
    interval = None
    if metric.reduce == "mean":
        interval = both.mean(expected(metric, ranks), _bounds(metric, ranks))
    nominal = metric.nominal(ranks.pool)
    mean = float(score.figures[name][0])
    return Measure(mean, of_draws, of_rows, interval, *score.chance(name), nominal, score.p(name))


def _bounds(metric: RetrievalMetric, ranks: Ranks) -> tuple[float, float]:
    """The least and the largest value of any rank in any of the pools."""
    values = [metric.value(np.arange(1, pool + 1), pool) for pool in np.unique(ranks.pool).tolist()]
    return float(min(map(np.min, values))), float(max(map(np.max, values)))


def _sd(values: np.ndarray) -> float | None:
    return float(values.std()) if len(values) > 1 else None
