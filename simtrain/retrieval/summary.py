"""Scores as figures with their spread: over draws, over rows, over subjects, and beside chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simtrain.retrieval.bootstrap import Bootstrap, Interval
from simtrain.retrieval.scores import Score


class Measure(NamedTuple):
    """One figure of one direction of retrieval.

    ``mean`` is over draws. Of its spread, ``sd_over_draws`` says how far the drawing of windows and pools
    moves it, None for one draw; ``sd_over_rows`` how far rows, each a subject, a movie and a hemisphere (or
    what is tested of it), differ, None for one row: it is what the published code gives; ``interval`` (95 %)
    is over subjects, None if there is only one or their mean was tested. ``p`` is None where it is not
    computed.
    """

    mean: float
    sd_over_draws: float | None
    sd_over_rows: float | None
    interval: Interval | None
    chance: float
    p: float | None


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
    of_rows = np.split(np.argsort(row, axis=None, kind="stable"), np.cumsum(np.bincount(row.ravel()))[:-1])
    return {name: _measure(score, name, bootstrap, of_rows) for name in score.metrics}


def _measure(score: Score, name: str, bootstrap: Bootstrap, of_rows: list[np.ndarray]) -> Measure:
    metric = score.metrics[name]
    values = metric.value(score.rank, score.pool)
    if metric.reduce == "median":
        draws, interval = np.median(values, axis=1), bootstrap.median(values)
    else:
        draws, interval = values.mean(axis=1), bootstrap.mean(values)
    rank, pool = score.rank.ravel(), score.pool.ravel()
    rows = np.array([metric.figure(rank[own], pool[own]) for own in of_rows])
    chance = metric.chance(score.pool)
    return Measure(float(draws.mean()), _sd(draws), _sd(rows), interval, chance, score.p.get(name))


def _sd(values: np.ndarray) -> float | None:
    return float(values.std()) if len(values) > 1 else None
