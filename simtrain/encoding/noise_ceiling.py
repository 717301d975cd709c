"""What can be predicted at best: the share of a vertex's variance that repeats with the film.

Of R repeats of a clip, with TP the mean variance over time of a repeat, the power of the signal is
SP = (R * variance of the mean repeat - TP) / (R - 1) (Sahani and Linden, NIPS 2002), unbiased and so below 0
at times. SP / TP is the explainable variance, the R2 of a perfect model. Its root is the r that a perfect
model has with one repeat, and r / sqrt(SP / TP) is the normalised correlation CCnorm (Schoppe et al.,
Frontiers in Computational Neuroscience 2016, doi:10.3389/fncom.2016.00010). It is put on test scenes, which
are seen once, and so taken to be the same there.
"""

from __future__ import annotations

import numpy as np

from simdata.release.splits import REPEAT
from simtrain.data.dataset import Dataset
from simtrain.encoding.rows import as_rows, has_bold

LEAST = 0.05  # explainable variance, below which a normalised r says more of noise than of the model


def repeated_rows(dataset: Dataset, lag: int) -> np.ndarray:
    """(repeats, seconds) ROW of the clip that movies repeat, second by second of it.

    No repeats where fewer than two movies have it, and BOLD ``lag`` s after it.
    """
    codes = [code for code, name in dataset.segments.items() if name == REPEAT]
    movie, clip = np.nonzero(np.isin(dataset.segment, codes))
    answered = has_bold(dataset, movie, clip, lag)
    rows = as_rows(movie[answered], clip[answered])
    repeats = [rows[rows["movie"] == one] for one in np.unique(rows["movie"])]
    seconds = min(map(len, repeats), default=0)
    if len(repeats) < 2 or seconds < 2:
        return rows[:0].reshape(0, 1)
    return np.stack([of_movie[:seconds] for of_movie in repeats])


def explainable_variance(repeats: np.ndarray) -> np.ndarray:
    """(targets,) SP / TP; 0 where nothing varies.

    Parameters
    ----------
    repeats : (repeats, seconds, targets)
    """
    count = len(repeats)
    total = repeats.var(axis=1, dtype=float).mean(axis=0)
    signal = (count * repeats.mean(axis=0, dtype=float).var(axis=0) - total) / (count - 1)
    return np.where(total > 0, signal / np.where(total > 0, total, 1), 0)


def normalised(r: np.ndarray, explainable: np.ndarray) -> np.ndarray:
    """r / sqrt(explainable variance); NaN where that is below ``LEAST``."""
    known = explainable >= LEAST
    return np.where(known, r / np.sqrt(np.where(known, explainable, 1)), np.nan)
