"""Chance by shifts against a plain loop, and p where nothing is predicted."""

import numpy as np
import pytest
from scipy.signal import lfilter

from simtrain.encoding.shift_null import draw_shifts, p_values, q_values, shifted_correlation

MOVIE = np.repeat([0, 2], [90, 71])


def _slow(rng, targets):
    """Autocorrelated noise, each movie by itself."""
    parts = [lfilter([1], [1, -0.7], rng.standard_normal((n + 50, targets)), axis=0)[50:] for n in (90, 71)]
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def shifts():
    return dict(zip((0, 2), draw_shifts({0: 90, 2: 71}, 400).T, strict=True))


def test_r_of_a_shift_is_pearson_s_of_what_is_rolled_in_each_movie(shifts):
    predicted, true = np.random.default_rng(0).standard_normal((2, len(MOVIE), 3)) + 4
    true[:, 2] = 1
    found = shifted_correlation(predicted, true, MOVIE, shifts)
    assert found.shape == (400, 3)
    for number in (0, 7, 399):
        rolled = np.concatenate([np.roll(predicted[m == MOVIE], shifts[m][number], axis=0) for m in (0, 2)])
        for target in (0, 1):
            r = np.corrcoef(rolled[:, target], true[:, target])[0, 1]
            assert found[number, target] == pytest.approx(r, abs=1e-6)
    assert not found[:, 2].any()


def test_shifts_go_all_the_way_round_and_are_all_that_there_are_where_they_are_few(shifts):
    for movie, seconds in ((0, 90), (2, 71)):
        assert (shifts[movie].min(), shifts[movie].max()) == (0, seconds - 1)
    assert draw_shifts({1: 3, 5: 2}, 100).tolist() == [[0, 1], [1, 0], [1, 1], [2, 0], [2, 1]]


def test_without_a_relation_p_is_at_chance_though_seconds_resemble_each_other(shifts):
    rng = np.random.default_rng(1)
    predicted, true = _slow(rng, 2000), _slow(rng, 2000)
    r = shifted_correlation(predicted, true, MOVIE, {movie: np.array([0]) for movie in (0, 2)})[0]
    p = p_values(r, shifted_correlation(predicted, true, MOVIE, shifts))
    assert 0.035 < np.mean(p <= 0.05) < 0.065
    assert 0.45 < np.mean(p <= 0.5) < 0.55
    assert np.mean(q_values(p) <= 0.05) < 0.001
    nominal = abs(r) > 1.96 / np.sqrt(len(MOVIE))  # what independent seconds would have
    assert np.mean(nominal) > 0.15


def test_p_counts_shifts_that_are_as_good_and_the_true_one():
    null = np.array([[0.1, 0.1], [0.3, 0.3], [0.5, 0.5]])
    assert p_values(np.array([0.3, 0.6]), null).tolist() == [3 / 4, 1 / 4]


def test_q_is_benjamini_and_hochberg_s_over_what_is_known():
    p = np.random.default_rng(2).uniform(size=(2, 30)) ** 3
    p[1, 4:9] = np.nan
    known = np.sort(p[~np.isnan(p)])
    adjusted = [min(known[k:] * len(known) / np.arange(k + 1, len(known) + 1)) for k in range(len(known))]
    found = q_values(p)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(p))
    np.testing.assert_allclose(np.sort(found[~np.isnan(p)]), adjusted)
