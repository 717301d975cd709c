"""Volumes of another clock, from seconds."""

import numpy as np
import pytest

from simtrain.data.own_clock import OwnClock


def circle(time):
    """(n, 2) of unit length, which turns once in 40 s."""
    angle = 2 * np.pi * np.asarray(time) / 40
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


@pytest.mark.parametrize("tr", [0.46, 0.8, 1.0, 1.49, 2.0, 2.47])
@pytest.mark.parametrize("onset", [0.0, 7.3, -4.2])
def test_a_volume_has_what_the_film_had_in_its_middle(tr, onset):
    clock = OwnClock(tr, onset)
    film = (np.arange(int((100 + onset) / tr)) + 0.5) * tr - onset
    np.testing.assert_allclose(clock.film_time(100), film)
    moved = clock.move(circle(np.arange(100) + 0.5))
    there = np.isfinite(moved).all(axis=1)
    np.testing.assert_allclose(moved[there], circle(film[there]), atol=0.005)
    reach = 2 * max(1, tr)
    np.testing.assert_array_equal(there[(film < 0) | (film > 100)], False)
    assert there[(film > 0.5 + reach) & (film < 99.5 - reach)].all()


def test_gaps_and_borders_of_sets_go_no_further_than_their_rows():
    clock = OwnClock(1.49, 0.0)
    rows = circle(np.arange(60) + 0.5)
    rows[30] = np.nan
    film = clock.film_time(60)
    moved = clock.move(rows)
    far = (np.abs(film - 30.5) > 2 * 1.49) & (film > 4) & (film < 56)
    assert np.isfinite(moved[far]).all()
    assert np.isnan(moved[np.abs(film - 30.5) < 1]).all()
    labels = np.repeat([1, 2], 30)
    moved = clock.move_labels(labels)
    np.testing.assert_array_equal(moved[(film > 4) & (film < 27)], 1)
    np.testing.assert_array_equal(moved[(film > 33) & (film < 56)], 2)
    assert (moved[np.abs(film - 30) < 1] == 0).all()
