"""Rows against a planted clock: a signal known at all times, sampled as a scanner does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simdata.bold.clock import Timing
from simdata.release.sources import Play

RNG = np.random.default_rng(0)
FREQUENCIES = RNG.uniform(0.005, 0.1, 40)  # Hz, what BOLD has
PHASES, SIZES = RNG.uniform(0, 2 * np.pi, 40), RNG.uniform(0.5, 1, 40)


def signal(time):
    """At scan time, s."""
    return (SIZES * np.cos(2 * np.pi * FREQUENCIES * np.asarray(time)[..., None] + PHASES)).sum(axis=-1)


def scanned(volumes, tr, start):
    return signal(start + (np.arange(volumes) + 0.5) * tr)


def shift(found, times):
    """s by which ``found`` is late, by the shift that suits it best."""
    shifts = np.arange(-2, 2.001, 0.01)
    return shifts[np.argmin([np.square(found - signal(times - late)).sum() for late in shifts])]


@settings(deadline=None, max_examples=40)
@given(
    tr=st.sampled_from([0.46, 0.72, 0.8, 1.0, 1.3, 1.49, 1.75, 2.0, 2.00000061, 2.47]),
    start=st.sampled_from([0.0, 0.37, -0.5, 12.0]),
    onset=st.floats(-20, 60),
    film_start=st.floats(0, 50),
)
def test_rows_are_at_their_time_to_a_twentieth_of_a_second(tr, start, onset, film_start):
    volumes = int(400 / tr)
    timing = Timing.of(volumes, tr, start, [Play(onset, film_start)], seconds=500)
    times = onset + timing.rows + 0.5 - film_start
    assert abs(shift(timing.band.apply(scanned(volumes, tr, start)), times)) <= 0.05
    support = 2 * max(1, tr)
    assert (timing.rows + 0.5 >= film_start).all()
    middles = start + np.array([0.5, volumes - 0.5]) * tr
    on_it = 1e-3 * tr  # a time this near to a volume's is on it
    assert (times >= middles[0] - on_it).all()
    assert (times <= middles[1] + on_it).all()
    everything = np.arange(500)[np.arange(500) + 0.5 >= film_start]
    everything_at = onset + everything + 0.5 - film_start
    whole = (everything_at >= middles[0] + support) & (everything_at <= middles[1] - support)
    assert set(everything[whole]) <= set(timing.rows)


def test_a_clock_that_is_half_a_volume_off_is_found_out():
    """The test above can fail: volumes taken at k TR are TR / 2 early."""
    timing = Timing.of(200, 2.0, -1.0, [Play()], seconds=400)
    assert shift(timing.band.apply(scanned(200, 2.0, 0.0)), timing.rows + 0.5) == pytest.approx(-1, abs=0.05)


@pytest.mark.parametrize("tr", [1.0, 0.9999999, 1.0000001])
@pytest.mark.parametrize(("onset", "film_start"), [(0, 0), (5, 0), (0, 7), (3, 8)])
def test_a_row_is_a_volume_where_tr_is_1_s_and_everything_is_whole(tr, onset, film_start):
    timing = Timing.of(100, tr, 0.0, [Play(float(onset), float(film_start))], seconds=110)
    expected = np.arange(film_start, min(110, 100 - onset + film_start))
    np.testing.assert_array_equal(timing.rows, expected)
    np.testing.assert_array_equal(timing.band.first, expected - film_start + onset)
    np.testing.assert_array_equal(timing.band.weights, np.ones((len(expected), 1)))
    assert timing.reach == 0
    assert timing.volumes_are_rows == (onset == 0)


@pytest.mark.parametrize("tr", [0.46, 0.8, 1.0, 1.49, 2.0, 2.47])
def test_rows_that_are_reach_apart_share_no_volume(tr):
    timing = Timing.of(300, tr, 0.123, [Play(7.3)], seconds=200)
    used = np.zeros((len(timing.rows), 300), bool)
    for row, (first, weights) in enumerate(zip(timing.band.first, timing.band.weights, strict=True)):
        used[row, first : first + len(weights)] = weights != 0
    share = (used[:, None] & used[None]).any(axis=2)
    apart = np.abs(timing.rows[:, None] - timing.rows[None])
    assert not share[apart >= timing.reach].any()
    assert share[apart == timing.reach - 1].any()


def test_plays_break_off_go_back_and_leave_out():
    plays = [Play(10, 30, 20.0), Play(50, 0, 12.4), Play(80, 60)]
    timing = Timing.of(100, 1.0, 0.0, plays, seconds=100)
    assert timing.rows.tolist() == [*range(30, 50), *range(12), *range(60, 80)]
    np.testing.assert_array_equal(timing.band.first, [*range(10, 30), *range(50, 62), *range(80, 100)])


def test_clips_of_three_seconds_have_the_rows_whose_middles_they_hold():
    plays = [Play(12.25 + 4 * clip, 3.2 * clip, 3.2) for clip in range(5)]
    timing = Timing.of(60, 1.75, 0.0, plays, seconds=16)
    assert timing.rows.tolist() == list(range(16))
    middles = np.arange(16) + 0.5
    clip = (middles // 3.2).astype(int)
    found = timing.band.apply(scanned(60, 1.75, 0.0))
    np.testing.assert_allclose(found, signal(12.25 + 4 * clip + middles - 3.2 * clip), atol=0.5)


@pytest.mark.parametrize("play", [Play(500.0), Play(-500.0), Play(0, 0, 0.3), Play(0, 90.0)])
def test_a_film_that_the_scan_did_not_see_has_no_rows(play):
    timing = Timing.of(50, 1.49, 0.0, [play], seconds=80)
    assert timing.rows.shape == timing.band.first.shape == (0,)
    assert timing.band.weights.shape[0] == 0


def test_rows_with_a_scrubbed_volume_say_so():
    timing = Timing.of(50, 2.0, 0.0, [Play()], seconds=100)
    scrubbed = np.zeros(50, bool)
    scrubbed[20] = True  # of the time around 41 s, which rows within 4 s of it have
    codes = timing.codes(3, scrubbed)
    assert codes.dtype == np.int16
    assert set(timing.rows[codes == -3].tolist()) == set(range(37, 45))
    assert (codes[np.abs(timing.rows - 40.5) > 4] == 3).all()


def test_what_is_faster_than_rows_does_not_show_as_something_slow():
    """A TR of .5 s sees .9 Hz; every second volume would show it as .1 Hz."""
    time = (np.arange(400) + 0.5) * 0.5
    timing = Timing.of(400, 0.5, 0.0, [Play()], seconds=200)
    fast = timing.band.apply(np.cos(2 * np.pi * 0.9 * time))
    slow = timing.band.apply(np.cos(2 * np.pi * 0.05 * time))
    assert np.abs(fast).max() < 0.1
    np.testing.assert_allclose(slow, np.cos(2 * np.pi * 0.05 * (timing.rows + 0.5)), atol=0.01)
