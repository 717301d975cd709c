from types import SimpleNamespace

import numpy as np
import pytest
import torch

from simdata.common.errors import UserError
from simtrain.config.resolved import ResolvedData
from simtrain.data.lag_jitter import jittered, must_follow_the_stimulus, with_room
from simtrain.data.order import Cursor, shuffled_batches
from simtrain.data.windows import WINDOW, by_hemisphere
from simtrain.models.learner import Learner


def _windows(*runs):
    """Windows of (subject, movie, seconds)."""
    rows = [(subject, movie, second) for subject, movie, seconds in runs for second in seconds]
    windows = np.zeros(len(rows), WINDOW)
    windows["subject"], windows["movie"], windows["second"] = np.array(rows).T
    windows["clip"] = windows["second"] - 6
    return windows


RUNS = [(0, 0, range(6, 20)), (0, 1, [*range(0, 5), *range(9, 16)]), (3, 0, range(0, 3)), (3, 1, range(5))]


@pytest.mark.parametrize("jitter", [0, 1, 2, 9])
def test_all_that_a_jitter_may_reach_is_itself_a_window(jitter):
    windows = _windows(*RUNS)
    there = {tuple(row) for row in windows[["subject", "movie", "second"]].tolist()}
    expected = [
        (subject, movie, second)
        for subject, movie, second in windows[["subject", "movie", "second"]].tolist()
        if all((subject, movie, second + shift) in there for shift in range(-jitter, jitter + 1))
    ]
    assert with_room(windows, jitter)[["subject", "movie", "second"]].tolist() == expected


def test_the_jitter_is_uniform_and_moves_nothing_but_the_bold():
    samples = by_hemisphere(_windows((0, 0, range(10, 5010))))
    moved = jittered(samples, 2, seed=3, epoch=1)
    shift = moved["second"] - samples["second"]
    counts = np.array([(shift == value).sum() for value in range(-2, 3)])
    assert counts.sum() == len(samples)
    assert np.abs(counts - 2000).max() < 200  # five standard deviations
    for field in set(samples.dtype.names) - {"second"}:
        assert np.array_equal(moved[field], samples[field])
    assert np.array_equal(moved, jittered(samples, 2, seed=3, epoch=1))
    assert not np.array_equal(moved, jittered(samples, 2, seed=3, epoch=2))
    assert jittered(samples, 0, seed=3, epoch=1) is samples


def test_batches_from_a_cursor_on_have_the_jitter_of_the_whole_sequence():
    samples = by_hemisphere(_windows((0, 0, range(10, 30))))
    whole = shuffled_batches(samples, 8, 0, Cursor(), jitter=3)
    for _ in range(7):
        before = next(whole)[1]
    resumed = shuffled_batches(samples, 8, 0, before, jitter=3)
    for _ in range(6):
        (one, cursor), (other, again) = next(whole), next(resumed)
        assert np.array_equal(one, other)
        assert cursor == again


def test_bold_before_its_stimulus_is_refused():
    must_follow_the_stimulus(ResolvedData(lag=2, lag_jitter=2))
    with pytest.raises(UserError, match=r"data\.lag_jitter: 3 s is more than the lag of 2 s"):
        must_follow_the_stimulus(ResolvedData(lag=2, lag_jitter=3))


def test_samples_of_one_clip_are_no_negatives_however_far_their_bold_has_moved():
    samples = by_hemisphere(_windows((0, 0, [20, 20, 40])))[::2]
    samples["second"] += np.array([-3, 3, 0], dtype="i4")
    learner = SimpleNamespace(window=3, film=np.arange(2), device=torch.device("cpu"))
    learner.overlaps_are_negatives = False
    expected = [[False, True, False], [True, False, False], [False, False, False]]
    assert Learner.ignored(learner, samples).tolist() == expected
    seen_again = samples.copy()
    seen_again["movie"] = 1
    assert not Learner.ignored(learner, np.concatenate([samples, seen_again]))[:3, 3:].any()
    learner.film = np.zeros(2, int)  # the same film
    assert Learner.ignored(learner, np.concatenate([samples, seen_again]))[:3, 3:].tolist() == [
        [True, True, False],
        [True, True, False],
        [False, False, True],
    ]
    learner.overlaps_are_negatives = True  # loss.overlaps: negatives
    assert not Learner.ignored(learner, samples).any()
