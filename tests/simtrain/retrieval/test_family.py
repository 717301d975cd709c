"""p-values of many figures together, by simulated tests without and with an effect."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from simtrain.retrieval.family import family_p

FIGURES, WAYS, TESTS = 24, 199, 600


def simulated(rng, effect=0.0, alike=0.7):
    """(figures, 1 + ways): correlated as directions are, of unlike scales; the first may be good."""
    shared = rng.normal(0, 1, (1, 1 + WAYS))
    found = np.sqrt(alike) * shared + np.sqrt(1 - alike) * rng.normal(0, 1, (FIGURES, 1 + WAYS))
    found[0, 0] += effect
    return found * np.geomspace(0.01, 100, FIGURES)[:, None] + 3


@pytest.mark.parametrize("alike", [0.0, 0.7, 0.95])
def test_that_any_figure_is_called_significant_by_chance_is_as_likely_as_it_says(alike):
    rng = np.random.default_rng(1)
    wrong = sum(family_p(simulated(rng, alike=alike)).min() <= 0.05 for _ in range(TESTS))
    assert wrong <= binom.ppf(0.999, TESTS, 0.05)
    assert wrong >= binom.ppf(0.001, TESTS, 0.05)  # nor is it less


def test_what_is_there_is_found_about_as_often_as_alone():
    rng, found = np.random.default_rng(2), []
    for _ in range(200):
        figures = simulated(rng, effect=4.0)
        alone = (figures[0] >= figures[0, 0]).mean()
        found.append((alone <= 0.05, family_p(figures)[0] <= 0.05))
    by_itself, in_family = np.mean(found, axis=0)
    assert by_itself > 0.95
    assert in_family > 0.75
    # Bonferroni's at 199 shifts could find nothing: 24 times 1/200 is more than .05.
    assert FIGURES / (1 + WAYS) > 0.05


@given(st.integers(0, 999))
def test_a_figure_alone_has_its_own_p_and_more_of_them_never_less(seed):
    rng = np.random.default_rng(seed)
    figures = rng.integers(0, 5, (4, 50)).astype(float)
    alone = np.array([family_p(one[None])[0] for one in figures])
    np.testing.assert_allclose(alone, (figures >= figures[:, :1]).mean(axis=1))
    together = family_p(figures)
    assert (together >= alone - 1e-12).all()
    np.testing.assert_allclose(family_p(2 * figures[::-1] + 1), together[::-1])


def test_a_figure_that_no_shift_changes_says_nothing():
    figures = np.stack([np.ones(20), np.r_[9.0, np.zeros(19)]])
    np.testing.assert_allclose(family_p(figures), [1, 1 / 20])
