"""Smooth random fields over the cortex."""

from __future__ import annotations

import numpy as np

WAVES = 256
ROWS_AT_ONCE = 8192


def smooth_fields(rng: np.random.Generator, points: np.ndarray, scale: float, count: int) -> np.ndarray:
    """(points, count) float32 fields of variance 1, the same function of place for the same ``rng``.

    Values at a distance d are correlated by some exp(-d^2 / (2 scale^2)): sums of plane waves whose
    frequencies are drawn from that function's spectrum (Rahimi & Recht 2007, random Fourier features).

    Parameters
    ----------
    points : (points, 3) mm
    scale : mm
    """
    frequency = (rng.standard_normal((3, WAVES)) / scale).astype(np.float32)
    weights = (rng.standard_normal((2, WAVES, count)) / np.sqrt(WAVES)).astype(np.float32)
    fields = np.empty((len(points), count), np.float32)
    for start in range(0, len(points), ROWS_AT_ONCE):
        phase = points[start : start + ROWS_AT_ONCE].astype(np.float32) @ frequency
        fields[start : start + ROWS_AT_ONCE] = np.cos(phase) @ weights[0] + np.sin(phase) @ weights[1]
    return fields
