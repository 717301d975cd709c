"""Explainable variance of repeats whose signal is known."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from simtrain.data.dataset import open_dataset
from simtrain.encoding.accuracy import correlation
from simtrain.encoding.noise_ceiling import LEAST, explainable_variance, normalised, repeated_rows

SHARE = np.array([0.0, 0.2, 0.5, 0.9])  # of the signal


def _repeats(count, seconds, targets):
    """Of each share, so many targets."""
    rng = np.random.default_rng(count)
    share = np.repeat(SHARE, targets)
    signal = rng.standard_normal((seconds, len(share))) * np.sqrt(share)
    noise = rng.standard_normal((count, seconds, len(share))) * np.sqrt(1 - share)
    return signal, signal + noise


@pytest.mark.parametrize("count", [2, 4])
def test_it_is_the_share_of_the_signal_without_bias(count):
    found = explainable_variance(_repeats(count, 40, 3000)[1]).reshape(len(SHARE), -1)
    np.testing.assert_allclose(found.mean(axis=1), SHARE, atol=0.015)
    assert (found[0] < 0).any()


def test_it_is_the_covariance_of_pairs_of_repeats_by_their_variance():
    repeats = _repeats(4, 30, 2)[1] + np.arange(4)[:, None, None]  # runs differ in their means
    for target in range(repeats.shape[2]):
        covariance = np.cov(repeats[..., target], ddof=0)
        pairs = np.mean([covariance[pair] for pair in combinations(range(4), 2)])
        assert explainable_variance(repeats)[target] == pytest.approx(pairs / np.diag(covariance).mean())
    assert explainable_variance(np.ones((3, 9, 1))).tolist() == [0]


def test_the_r_of_a_perfect_model_is_1_when_normalised():
    signal, repeats = _repeats(4, 2000, 20)
    explainable = explainable_variance(repeats)
    found = normalised(correlation(signal, repeats[0]), explainable)
    np.testing.assert_allclose(found[20:], 1, atol=0.1)
    assert np.isnan(found[explainable < LEAST]).all()
    assert np.isnan(found[:20]).any()


def test_the_repeated_clip_is_found_second_by_second_where_bold_answers_it(store):
    dataset = open_dataset(store)
    assert not len(repeated_rows(dataset, 6))  # one movie alone has it
    segment = dataset.segment.copy()
    segment[1, 50:56] = 5
    twice = replace(dataset, segment=segment)
    rows = repeated_rows(twice, 4)
    assert rows["movie"].tolist() == [[0] * 4, [1] * 4]
    assert rows["clip"].tolist() == [[56, 57, 58, 59], [50, 51, 52, 53]]  # as long as the shorter
    assert repeated_rows(twice, 6)["clip"].tolist() == [[56, 57], [50, 51]]  # M1 has 64 volumes
