"""p-values of many figures together: of all that a test shows, directions, figures and experiments.

Each figure is put in units of its own standard deviation over shifts, and compared with the largest of all
figures in each shift (Westfall & Young 1993, Resampling-based multiple testing). So the probability that any
figure of the family is called significant by chance is that of a single test, however many there are, and as
figures that say the same are largest together, little power is lost. Directions share their shifts, and so do
experiments that are of the same clips.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from simtrain.retrieval.evaluation import RetrievalResult

SLACK = 1e-9  # of a figure, summed in another order


def family_p(figures: np.ndarray) -> np.ndarray:
    """(n,) p-values of n figures that are better if larger, corrected for there being so many.

    Parameters
    ----------
    figures : (n, 1 + ways), first as they are, then as they could as well have been
    """
    spread = figures.std(axis=1, keepdims=True)
    units = (figures - figures.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, np.inf)
    return np.asarray((units.max(axis=0) >= units[:, :1] - SLACK).mean(axis=1))


def of_results(results: Mapping[str, RetrievalResult]) -> dict[tuple[str, str, str], float]:
    """(experiment, direction, figure) -> its p-value in the family of all of them."""
    good = {
        (name, direction, figure): metric.good(score.figures[figure])
        for name, result in results.items()
        for direction, score in result.scores.items()
        for figure, metric in score.metrics.items()
    }
    return dict(zip(good, family_p(np.stack(list(good.values()))).tolist(), strict=True))
