import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simtrain.data.windows import WINDOW
from simtrain.retrieval.units import EVERYONE, average_clips, average_fmri, find_units, members

LAG = 6
# Two movies of 30 s; film clips 1 and 2 touch, a second of rest lies before 3.
SEGMENT = np.array([[1] * 12 + [2] * 9 + [0] + [3] * 8, [4] * 20 + [0] * 10], np.int8)


def windows_of(seconds, missing=()):
    """Windows of three subjects whose clips begin at ``seconds``; ``missing`` are absent runs."""
    found = [
        (subject, movie, second + LAG, second, 3, 1)
        for subject in (0, 1, 2)
        for movie in (0, 1)
        if (subject, movie) not in missing
        for second in seconds
        if SEGMENT[movie, second]
    ]
    return np.array(found, WINDOW)


def expected_units(windows, seconds):
    known = {(w["subject"], w["movie"], w["clip"]) for w in windows}
    return [
        w
        for w in windows
        if all(
            (w["subject"], w["movie"], w["clip"] + later) in known
            and SEGMENT[w["movie"], w["clip"] + later] == SEGMENT[w["movie"], w["clip"]]
            for later in range(seconds)
        )
    ]


def unit(vector):
    return vector / np.linalg.norm(vector)


@settings(max_examples=30)
@given(st.sets(st.integers(0, 27), min_size=12), st.integers(1, 5), st.booleans())
def test_averages_equal_a_loop_over_members(seconds, count, everyone):
    windows = windows_of(sorted(seconds), missing={(1, 1)})
    vectors = np.random.default_rng(0).standard_normal((len(windows), 4)).astype("f4")
    units = find_units(windows, SEGMENT, count, everyone)
    expected = expected_units(windows, count)
    if everyone:
        assert [(u["subject"], u["movie"], u["clip"]) for u in units] == sorted(
            {(EVERYONE, w["movie"], w["clip"]) for w in expected}
        )
    else:
        np.testing.assert_array_equal(units, np.array(expected, WINDOW))
    if not len(units):
        return
    # What is not a member must not matter.
    chosen = members(units, windows, count)
    found = average_fmri(units, windows[chosen], vectors[chosen], count)
    for one, vector in zip(units, found, strict=True):
        takes_part = [
            everyone | (w["subject"] == one["subject"])
            and w["movie"] == one["movie"]
            and 0 <= w["clip"] - one["clip"] < count
            for w in windows
        ]
        np.testing.assert_allclose(vector, unit(vectors[takes_part].mean(axis=0)), atol=1e-5)
    used = {(w["subject"], w["movie"], w["clip"] + later) for w in expected for later in range(count)}
    assert {(w["subject"], w["movie"], w["clip"]) for w in windows[chosen]} == used


def test_stimuli_are_averaged_over_the_same_seconds():
    table = np.random.default_rng(0).standard_normal((2, 30, 5)).astype("f4")
    movie, clip = np.array([0, 0, 1]), np.array([2, 3, 9])
    found = average_clips(lambda m, c: {"video": table[m, c], "audio": -table[m, c]}, movie, clip, 3)
    for i in range(3):
        mean = unit(table[movie[i], clip[i] : clip[i] + 3].mean(axis=0))
        np.testing.assert_allclose(found["video"][i], mean, atol=1e-6)
        np.testing.assert_allclose(found["audio"][i], -mean, atol=1e-6)


@pytest.mark.parametrize(("count", "starts"), [(1, 27), (3, 21), (9, 5)])
def test_a_mean_stays_within_one_film_clip(count, starts):
    units = find_units(windows_of(range(28))[:27], SEGMENT, count, False)
    assert len(units) == starts
    first, last = SEGMENT[0, units["clip"]], SEGMENT[0, units["clip"] + count - 1]
    np.testing.assert_array_equal(first, last)
