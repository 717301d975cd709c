"""Spherical harmonics against their formulas in x, y, z, the addition theorem, and integrals over a mesh."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import eval_legendre

from simdata.surface.meshes import icosphere
from simtrain.surface.harmonics import spherical_harmonics

AXES = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda point: np.linalg.norm(point) > 0.1)


def _unit(*points):
    points = np.array(points, dtype=float)
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


@given(AXES)
def test_those_up_to_degree_2_are_the_polynomials_of_every_table(point):
    x, y, z = _unit(point)[0]
    expected = np.array(
        [
            0.5 * np.sqrt(1 / np.pi),
            *(np.sqrt(3 / (4 * np.pi)) * np.array([y, z, x])),
            0.5 * np.sqrt(15 / np.pi) * x * y,
            0.5 * np.sqrt(15 / np.pi) * y * z,
            0.25 * np.sqrt(5 / np.pi) * (3 * z**2 - 1),
            0.5 * np.sqrt(15 / np.pi) * x * z,
            0.25 * np.sqrt(15 / np.pi) * (x**2 - y**2),
        ]
    )
    np.testing.assert_allclose(spherical_harmonics(_unit(point), 2)[0], expected, atol=1e-12)


@settings(deadline=None)
@given(AXES, AXES, st.integers(1, 12))
def test_the_sum_over_orders_is_legendres_polynomial_of_the_angle(one, other, degree):
    points = _unit(one, other)
    values = spherical_harmonics(points, degree)[:, degree**2 :]
    expected = (2 * degree + 1) / (4 * np.pi) * eval_legendre(degree, points[0] @ points[1])
    np.testing.assert_allclose(values[0] @ values[1], expected, atol=1e-9)


@pytest.mark.parametrize("degree", [0, 1, 6])
def test_they_are_orthonormal_over_the_sphere(degree):
    vertices, faces = icosphere(6)
    corners = vertices[faces] / 100
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(cross, axis=1) / 2
    values = spherical_harmonics(_unit(*corners.mean(axis=1)), degree)
    gram = (values * areas[:, None]).T @ values / areas.sum() * 4 * np.pi
    np.testing.assert_allclose(gram, np.eye((degree + 1) ** 2), atol=2e-3)
