"""A linear map from embeddings of BOLD to the features of another encoder, fitted on training windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PENALTIES = np.logspace(-5, 3, 17)  # in units of the mean eigenvalue of X'X


@dataclass(frozen=True)
class LinearMap:
    """Ridge regression in closed form.

    Attributes
    ----------
    weights : (dim, features) float64
    x_mean, y_mean : means over the training rows, which the intercept comes from
    penalty : in units of the mean eigenvalue of X'X
    r2 : share of the variance of held-out rows that it predicts, over all features
    """

    weights: np.ndarray
    x_mean: np.ndarray
    y_mean: np.ndarray
    penalty: float
    r2: float

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(n, features) float32 from (n, dim), in the features' own units."""
        return ((x - self.x_mean) @ self.weights + self.y_mean).astype(np.float32)


def fit_linear_map(x: np.ndarray, y: np.ndarray, x_held_out: np.ndarray, y_held_out: np.ndarray) -> LinearMap:
    """Fit on training rows; the penalty is the one with the least squared error on held-out rows.

    Held-out rows, and not left-out ones: the encoder was trained on the training rows, and neighbouring
    seconds are alike, so that within these rows no penalty at all would look best.

    Parameters
    ----------
    x, y : (n, dim) and (n, features) float32
    x_held_out, y_held_out : the same of rows that the encoder was not trained on
    """
    x_mean, y_mean = x.mean(axis=0, dtype=np.float64), y.mean(axis=0, dtype=np.float64)
    centred = x - x_mean
    values, vectors = np.linalg.eigh(centred.T @ centred)
    projected = vectors.T @ (centred.T @ (y - y_mean))
    held_out, truth = (x_held_out - x_mean) @ vectors, y_held_out - y_mean
    unit = values.mean()
    errors = [
        np.square(held_out @ (projected / (values + penalty * unit)[:, None]) - truth).sum()
        for penalty in PENALTIES
    ]
    best = int(np.argmin(errors))
    weights = vectors @ (projected / (values + PENALTIES[best] * unit)[:, None])
    r2 = 1 - errors[best] / np.square(y_held_out - y_held_out.mean(axis=0)).sum()
    return LinearMap(weights, x_mean, y_mean, float(PENALTIES[best]), float(r2))
