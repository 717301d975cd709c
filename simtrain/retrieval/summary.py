"""Scores as figures with their spread: over draws, over subjects, and beside chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simtrain.retrieval.bootstrap import Bootstrap, Interval
from simtrain.retrieval.scores import Score


class Measure(NamedTuple):
    """One figure of one direction of retrieval.

    ``mean`` and ``sd`` are over draws; ``interval`` (95 %) is over subjects, None if there is only one or
    their mean was tested; ``p`` is None where it is not computed.
    """

    mean: float
    sd: float
    interval: Interval | None
    chance: float
    p: float | None


def summarise(score: Score, subject: np.ndarray, seed: int) -> dict[str, Measure]:
    """The figures of all metrics of a score, by their names.

    Parameters
    ----------
    subject : (draws, tested) whose window was tested
    """
    bootstrap = Bootstrap(subject, seed)
    return {name: _measure(score, name, bootstrap) for name in score.metrics}


def _measure(score: Score, name: str, bootstrap: Bootstrap) -> Measure:
    metric = score.metrics[name]
    values = metric.value(score.rank, score.pool)
    if metric.reduce == "median":
        draws, interval = np.median(values, axis=1), bootstrap.median(values)
    else:
        draws, interval = values.mean(axis=1), bootstrap.mean(values)
    chance = metric.chance(score.pool)
    return Measure(float(draws.mean()), float(draws.std()), interval, chance, score.p.get(name))
