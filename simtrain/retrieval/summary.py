"""Scores as figures with their spread: over draws, over subjects, and beside chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simtrain.retrieval.bootstrap import Bootstrap, Interval
from simtrain.retrieval.scores import TOP, Score


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
    """``top-1``, ``top-5`` and ``top-10`` (shares), ``median_rank`` and ``percentile`` (the mean one).

    Parameters
    ----------
    subject : (draws, tested) whose window was tested
    """
    bootstrap = Bootstrap(subject, seed)
    found = {}
    for k in TOP:
        hit = score.hit(k)
        found[f"top-{k}"] = _measure(hit.mean(axis=1), bootstrap.mean(hit), score.chance(k), score.p[k])
    found["median_rank"] = _measure(
        np.median(score.rank, axis=1),
        bootstrap.median(score.rank),
        float((score.pool + 1).mean() / 2),
        None,
    )
    percentile = score.percentile
    found["percentile"] = _measure(
        percentile.mean(axis=1), bootstrap.mean(percentile), 50.0, score.p_percentile
    )
    return found


def _measure(draws: np.ndarray, interval: Interval | None, chance: float, p: float | None) -> Measure:
    return Measure(float(draws.mean()), float(draws.std()), interval, chance, p)
