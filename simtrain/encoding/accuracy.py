"""How well BOLD is predicted."""

from __future__ import annotations

import numpy as np


def correlation(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(targets,) Pearson's r over the rows; 0 where one does not vary."""
    one, other = _centred(predicted), _centred(true)
    length = np.linalg.norm(one, axis=0) * np.linalg.norm(other, axis=0)
    return (one * other).sum(axis=0) / np.where(length > 0, length, 1)


def explained(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(targets,) R2 over the rows: 1 - squared error / variance, below 0 where the mean does better.

    0 where nothing varies.
    """
    error = np.square(true.astype(float) - predicted).sum(axis=0)
    total = np.square(_centred(true)).sum(axis=0)
    return np.where(total > 0, 1 - error / np.where(total > 0, total, 1), 0)


def _centred(values: np.ndarray) -> np.ndarray:
    return values.astype(float) - values.mean(axis=0, dtype=float)
