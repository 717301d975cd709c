"""Spherical harmonics: smooth functions on the sphere, of which the first few tell far places apart."""

from __future__ import annotations

import numpy as np
from scipy.special import sph_harm_y_all


def spherical_harmonics(points: np.ndarray, degree: int) -> np.ndarray:
    """Real spherical harmonics, orthonormal over the unit sphere.

    Parameters
    ----------
    points : (n, 3) float64 of unit length
    degree : the highest

    Returns
    -------
    (n, (degree + 1)**2) float64
        By degree l, and within it by order m from -l to l; sines of the longitude have m < 0.
    """
    x, y, z = points.T
    complex_ones = sph_harm_y_all(degree, degree, np.arctan2(np.hypot(x, y), z), np.arctan2(y, x))
    return np.stack(
        [
            _real(complex_ones[order, abs(of_order)], of_order)
            for order in range(degree + 1)
            for of_order in range(-order, order + 1)
        ],
        axis=1,
    )


def _real(values: np.ndarray, order: int) -> np.ndarray:
    """Of complex values with the Condon-Shortley phase, which is taken off."""
    if order == 0:
        return values.real
    part = values.imag if order < 0 else values.real
    return (-1) ** order * np.sqrt(2) * part
