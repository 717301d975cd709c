"""Parts of R2, of a film whose signals are known."""

import numpy as np
import pytest
import torch

from simtrain.encoding.accuracy import explained
from simtrain.encoding.banded_ridge import BandedRidge
from simtrain.encoding.mixes import as_given
from simtrain.encoding.partition import SHARED, parts, unique


def test_parts_sum_to_the_whole_and_are_what_only_one_or_several_know():
    """Two spaces know a common signal, and each one of its own; targets are of one of them, or noise."""
    rng = np.random.default_rng(0)
    common, first, second = rng.standard_normal((3, 900, 4))
    spaces = {"a": np.hstack([common, first]), "b": np.hstack([common, second])}
    weights = rng.standard_normal((4, 1))
    y = np.hstack([common @ weights, first @ weights, second @ weights, np.zeros((900, 1))])
    y = y + np.linalg.norm(weights) / 2 * rng.standard_normal(y.shape)
    x, new = ([space[part] for space in spaces.values()] for part in (slice(600), slice(600, None)))
    ridge = BandedRidge(x, new, np.arange(600) % 4, torch.device("cpu"))

    def r2(*mix):
        return explained(ridge.fit(y[:600], np.array([mix])).predicted, y[600:])

    whole = r2(*as_given(ridge.power)[0])
    found = parts(whole, {"a": r2(0, 1), "b": r2(1, 0)})
    np.testing.assert_allclose(sum(found.values()), whole)
    of_signal = whole[:3].mean()
    assert of_signal == pytest.approx(0.8, abs=0.05)
    expected = {SHARED: [1, 0, 0, 0], unique("a"): [0, 1, 0, 0], unique("b"): [0, 0, 1, 0]}
    for name, shares in expected.items():
        np.testing.assert_allclose(found[name], np.array(shares) * of_signal, atol=0.06)


def test_of_three_spaces_shared_is_what_no_one_has_alone():
    found = parts(np.array([0.6]), {"a": np.array([0.5]), "b": np.array([0.4]), "c": np.array([0.6])})
    assert {name: round(float(values[0]), 6) for name, values in found.items()} == {
        "unique_a": 0.1,
        "unique_b": 0.2,
        "unique_c": 0.0,
        "shared": 0.3,
    }
