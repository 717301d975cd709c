"""Scores as figures with their spread: over draws, over rows, over subjects, and beside chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simtrain.retrieval.bootstrap import Bootstrap, Interval
from simtrain.retrieval.ranks import expected, figures
from simtrain.retrieval.scores import Score


class Measure(NamedTuple):
    """One figure of one direction of retrieval.

    ``mean`` is over tested windows and their pools; a median where the metric is one. Of its spread,
    ``sd_over_draws`` says how far the drawing of windows and pools moves it, None if nothing is drawn or
    once; ``sd_over_rows`` how far rows, each a subject, a movie and a hemisphere (or what is tested of it),
    differ, None for one row: it is what the published code gives; ``interval`` (95 %) is over subjects, None
    if there is only one or their mean was tested. ``chance`` is the mean of the figure over shifts of the
    stimulus, ``chance_95`` what 95 % of shifts do not surpass, and ``nominal`` what is expected if all ranks
    in a pool are as likely. ``p`` is against the shifts.
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


def summarise(score: Score, subject: np.ndarray, row: np.ndarray, seed: int) -> dict[str, Measure]:
    """The figures of all metrics of a score, by their names.

    Parameters
    ----------
    subject : (draws, tested) whose window was tested
    row : (draws, tested) as `rows_of` gives
    """
    bootstrap = Bootstrap(subject, seed)
    return {name: _measure(score, name, bootstrap, row) for name in score.metrics}


def _measure(score: Score, name: str, bootstrap: Bootstrap, row: np.ndarray) -> Measure:
    metric, ranks = score.metrics[name], score.ranks
    draw = np.indices(row.shape)[0]
    of_draws, of_rows = (_sd(figures(metric, ranks, group, int(group.max()) + 1)) for group in (draw, row))
    interval = bootstrap.mean(expected(metric, ranks)) if metric.reduce == "mean" else None
    nominal = metric.nominal(ranks.pool)
    mean = float(score.figures[name][0])
    return Measure(mean, of_draws, of_rows, interval, *score.chance(name), nominal, score.p(name))


def _sd(values: np.ndarray) -> float | None:
    return float(values.std()) if len(values) > 1 else None
