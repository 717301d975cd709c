import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simtrain.retrieval.bootstrap import Bootstrap


def resampled(bootstrap, values, subject, statistic):
    """The mean over draws of a statistic, for every resample: the subjects' windows one behind the other."""
    subjects = np.unique(subject)
    found = []
    for times in bootstrap.times:
        draws = []
        for own_values, own_subject in zip(values, subject, strict=True):
            drawn = []
            for one, count in zip(subjects, times, strict=True):
                drawn += own_values[own_subject == one].tolist() * int(count)
            if drawn:
                draws.append(statistic(drawn))
        found.append(np.mean(draws))
    return found


@given(st.integers(0, 99), st.integers(2, 6), st.integers(1, 3))
def test_intervals_equal_a_loop_over_resamples(seed, subjects, draws):
    rng = np.random.default_rng(seed)
    subject = rng.integers(0, subjects, (draws, 12)) * 3 + 1
    subject[:, :subjects] = np.arange(subjects) * 3 + 1
    bootstrap = Bootstrap(subject, seed, resamples=60)
    assert bootstrap.times.shape == (60, subjects)
    assert (bootstrap.times.sum(axis=1) == subjects).all()
    rank = rng.integers(1, 9, subject.shape)
    # The mean is that of all draws together: they have the same number of windows, but not of each subject.
    together = resampled(bootstrap, rank.reshape(1, -1), subject.reshape(1, -1), np.mean)
    np.testing.assert_allclose(bootstrap.mean(rank), np.percentile(together, [2.5, 97.5]), rtol=1e-12)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        own = rng.normal(0.5, 0.1, 25)
        subject = np.repeat(np.arange(25), 8).reshape(2, 100)
        low, high = Bootstrap(subject, seed, resamples=300).mean(own[subject] + rng.normal(0, 0.1, (2, 100)))
        covered += low <= 0.5 <= high
    assert covered == pytest.approx(0.95 * 200, abs=14)


def test_one_subject_has_no_interval_and_the_seed_decides():
    assert Bootstrap(np.full((3, 3), 4), 0).mean(np.arange(9).reshape(3, 3)) is None
    subject, values = np.arange(30).reshape(3, 10) % 7, np.arange(30.0).reshape(3, 10)
    one, same, other = (Bootstrap(subject, seed).mean(values) for seed in (3, 3, 4))
    assert one == same != other
