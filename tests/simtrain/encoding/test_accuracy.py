"""Measures of a prediction against numpy and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import r2_score

from simtrain.encoding.accuracy import correlation, explained


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    true = rng.standard_normal((30, 5)) + 3
    return true / 2 + rng.standard_normal((30, 5)), true


def test_correlation_is_pearson_s_and_0_where_nothing_varies(pair):
    expected = [np.corrcoef(*of_target)[0, 1] for of_target in zip(pair[0].T, pair[1].T, strict=True)]
    np.testing.assert_allclose(correlation(*pair), expected)
    assert correlation(pair[0], np.ones((30, 5))).tolist() == [0] * 5


def test_explained_is_sklearn_s_r2_and_0_where_nothing_varies(pair):
    np.testing.assert_allclose(explained(*pair), r2_score(pair[1], pair[0], multioutput="raw_values"))
    assert explained(pair[0], np.ones((30, 5))).tolist() == [0] * 5
