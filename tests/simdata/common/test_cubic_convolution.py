"""Cubic convolution against scipy's cubic Hermite splines, and what no interpolation may do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline

from simdata.common.cubic_convolution import cubic_band


def test_it_is_the_hermite_spline_with_central_differences():
    """Keys's kernel with a = -1/2 is Catmull and Rom's: slopes are (next - last) / 2."""
    values = np.random.default_rng(0).standard_normal(30)
    positions = np.linspace(1, 28, 173)
    inside, band = cubic_band(positions, 30)
    assert inside.all()
    spline = CubicHermiteSpline(np.arange(1, 29), values[1:-1], (values[2:] - values[:-2]) / 2)
    np.testing.assert_allclose(band.apply(values), spline(positions), atol=1e-6)


@settings(deadline=None)
@given(
    samples=st.integers(1, 40),
    positions=st.lists(st.floats(-10, 50), min_size=1, max_size=20),
    width=st.floats(1, 4),
)
def test_rows_are_made_of_samples_that_there_are(samples, positions, width):
    inside, band = cubic_band(np.array(positions), samples, width)
    assert len(band.first) == len(band.weights) == inside.sum()
    assert (band.first >= 0).all()
    assert (band.first + band.weights.shape[1] <= samples).all()
    np.testing.assert_allclose(band.weights.sum(axis=1), 1, atol=1e-6)
    of_constant = band.apply(np.full((samples, 2), 7.0))
    np.testing.assert_allclose(of_constant, 7, atol=1e-5)
    for position in np.array(positions)[~inside]:
        assert position < SUPPORT_BESIDE * width or position > samples - 1 - SUPPORT_BESIDE * width


SUPPORT_BESIDE = 2


def test_whole_positions_are_the_samples_themselves():
    inside, band = cubic_band(np.array([-1.0, 0, 3, 4, 4 + 1e-7, 5]), 5)
    assert inside.tolist() == [False, True, True, True, True, False]
    assert band.first.tolist() == [0, 3, 4, 4]
    assert band.weights.tolist() == [[1.0]] * 4


@pytest.mark.parametrize(("position", "there"), [(0.999, False), (1.0001, True), (7.9, True), (8.1, False)])
def test_nothing_is_extrapolated(position, there):
    inside, _ = cubic_band(np.array([position]), 10)
    assert inside.tolist() == [there]


def test_a_line_stays_a_line_whatever_the_kernel_is_as_wide_as():
    positions = np.linspace(6, 33, 55)
    for width in (1.0, 1.25, 2.17):
        inside, band = cubic_band(positions, 40, width)
        assert inside.all()
        np.testing.assert_allclose(band.apply(np.arange(40.0)), positions, atol=0.02 * width)
