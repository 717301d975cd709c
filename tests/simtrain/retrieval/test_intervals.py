"""Intervals over subjects and film clips, against scipy and textbooks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from simtrain.retrieval.intervals import FEWEST, Crossed


def crossed(subjects, clips, windows=1):
    subject, clip = np.indices((subjects, clips))
    return Crossed(np.repeat(subject.ravel(), windows), np.repeat(clip.ravel(), windows))


@pytest.mark.parametrize("axis", [0, 1])
def test_where_only_subjects_or_only_clips_differ_it_is_students(axis):
    own = np.random.default_rng(axis).normal(3, 1, 9)
    values = np.repeat(own, 6) if axis == 0 else np.tile(own, 6)
    found = crossed(9, 6).mean(values) if axis == 0 else crossed(6, 9).mean(values)
    np.testing.assert_allclose(found, ttest_1samp(own, 0).confidence_interval(0.95), rtol=1e-9)


def test_the_variance_is_that_of_the_components_of_a_balanced_study():
    """Mean squares of a two-way layout without replication, as textbooks have them."""
    rng = np.random.default_rng(0)
    table = rng.normal(0, 1, (8, 1)) + rng.normal(0, 1, (1, 7)) + rng.normal(0, 0.5, (8, 7))
    mean, rows, columns = table.mean(), table.mean(axis=1), table.mean(axis=0)
    rest = table - rows[:, None] - columns + mean
    squares = 7 * rows.var(ddof=1), 8 * columns.var(ddof=1), (rest**2).sum() / (7 * 6)
    variance = (squares[0] + squares[1] - squares[2]) / 56
    freedom = variance**2 / ((squares[0] / 56) ** 2 / 7 + (squares[1] / 56) ** 2 / 6)
    half = student.ppf(0.975, freedom) * np.sqrt(variance)
    np.testing.assert_allclose(crossed(8, 7).mean(table), (mean - half, mean + half), rtol=1e-9)


@given(st.integers(0, 99), st.integers(5, 9), st.integers(5, 9))
def test_it_depends_neither_on_names_nor_on_order_and_scales_with_values(seed, subjects, clips):
    rng = np.random.default_rng(seed)
    subject, clip = rng.integers(0, subjects, 300), rng.integers(0, clips, 300)
    subject[:50], clip[:50] = np.arange(50) % subjects, np.arange(50) % clips
    values, order = rng.normal(0, 1, 300) + subject, rng.permutation(300)
    low, high = Crossed(subject, clip).mean(values)
    assert low < values.mean() < high
    np.testing.assert_allclose(Crossed(subject * 7 + 3, -clip).mean(values), (low, high))
    np.testing.assert_allclose(Crossed(subject[order], clip[order]).mean(values[order]), (low, high))
    np.testing.assert_allclose(Crossed(clip, subject).mean(values), (low, high))
    np.testing.assert_allclose(Crossed(subject, clip).mean(1 - 2 * values), (1 - 2 * high, 1 - 2 * low))


def test_a_subject_without_some_clips_is_taken_as_it_is():
    rng = np.random.default_rng(0)
    subject, clip = (one.ravel() for one in np.indices((12, 10)))
    values = rng.normal(0, 1, 12)[subject] + rng.normal(0, 1, 10)[clip]
    there = rng.random(120) > 0.2
    whole, part = (Crossed(subject[own], clip[own]).mean(values[own]) for own in (there | True, there))
    assert part.high - part.low == pytest.approx(whole.high - whole.low, rel=0.2)


def test_a_share_stays_between_its_bounds_and_has_none_at_them():
    values = np.random.default_rng(0).choice([0.0, 1.0], (7, 6), p=[0.03, 0.97])
    plain, within = crossed(7, 6).mean(values), crossed(7, 6).mean(values, (0, 1))
    assert plain.high > 1 > within.high > values.mean() > within.low
    centre, half = logit(values.mean()), (plain.high - plain.low) / 2 / values.mean() / (1 - values.mean())
    np.testing.assert_allclose(within, expit([centre - half, centre + half]))
    percent = crossed(7, 6).mean(100 * values, (0, 100))
    np.testing.assert_allclose(percent, 100 * np.array(within))
    assert crossed(7, 6).mean(np.ones((7, 6)), (0, 1)) is None
    assert crossed(7, 6).mean(np.zeros((7, 6))) == (0, 0)


@pytest.mark.parametrize(("subjects", "clips"), [(FEWEST - 1, 30), (30, FEWEST - 1), (1, 1)])
def test_few_subjects_or_few_clips_have_none(subjects, clips):
    values = np.random.default_rng(0).random(subjects * clips)
    assert crossed(subjects, clips).mean(values) is None
