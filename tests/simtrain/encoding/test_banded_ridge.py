"""Ridge against scikit-learn's, target by target and mix by mix, and against himalaya's random search."""

import numpy as np
import pytest
import torch
from himalaya.backend import set_backend
from himalaya.kernel_ridge import (
    predict_weighted_kernel_ridge,
    solve_multiple_kernel_ridge_random_search,
)
from plain_ridge import plain_ridge
from sklearn.model_selection import PredefinedSplit

from simtrain.baselines.penalties import PENALTIES
from simtrain.encoding import banded_ridge
from simtrain.encoding.banded_ridge import BandedRidge
from simtrain.encoding.mixes import as_given, candidates

CPU = torch.device("cpu")
ROWS, NEW = 60, 25


def _data(*features):
    """Spaces of these widths and scales; targets of one, of the other, of both, of none, and a constant."""
    rng = np.random.default_rng(sum(features))
    x, new = (
        [10.0**s * (rng.standard_normal((count, width)) + 1) for s, width in enumerate(features)]
        for count in (ROWS, NEW)
    )
    weights = [rng.standard_normal((space.shape[1], 5)) / space.std() for space in x]
    weights[0][:, [1, 3, 4]] = 0
    weights[-1][:, [3, 4] if len(x) == 1 else [0, 3, 4]] = 0
    noise = np.array([0.3, 1, 3, 10, 0])
    y = sum(space @ own for space, own in zip(x, weights, strict=True))
    y = y + noise * rng.standard_normal(y.shape) + 5
    return x, new, rng.permutation(np.arange(ROWS) % 3), y


@pytest.mark.parametrize("features", [7, 90])  # fewer and more than rows
def test_it_is_sklearn_s_ridge_with_the_penalty_of_each_target_by_cross_validation(features):
    x, new, fold, y = _data(features)
    ridge = BandedRidge(x, new, fold, CPU)
    found = ridge.fit(y, as_given(ridge.power))
    for target in range(4):
        expected, best, _ = plain_ridge(x[0], fold, new[0], y[:, target])
        assert found.penalty[target] == pytest.approx(best)
        np.testing.assert_allclose(found.predicted[:, target], expected, rtol=1e-5, atol=1e-5)
    assert len(np.unique(found.penalty[:4])) > 1
    np.testing.assert_allclose(found.predicted[:, 4], y[0, 4], rtol=1e-6)


@pytest.mark.parametrize("features", [(5, 9), (70, 40)])
def test_each_target_has_the_mix_that_is_best_when_all_are_tried_by_sklearn(features):
    x, new, fold, y = _data(*features)
    ridge = BandedRidge(x, new, fold, CPU)
    mixes = candidates(ridge.power, 9)
    found = ridge.fit(y, mixes)
    scales = np.sqrt(mixes * ridge.power.sum() / ridge.power)
    for target in range(4):
        tried = [plain_ridge(_beside(x, scale), fold, _beside(new, scale), y[:, target]) for scale in scales]
        best = int(np.argmin([error for *_, error in tried]))
        np.testing.assert_array_equal(found.mix[target], mixes[best])
        np.testing.assert_allclose(found.predicted[:, target], tried[best][0], rtol=1e-4, atol=1e-4)
        with np.errstate(divide="ignore"):
            share = np.array(features) / np.dot(mixes[best] > 0, features)
            np.testing.assert_allclose(found.penalty[target], tried[best][1] * share / mixes[best])
    assert found.mix[0, 0] > 0.9
    assert found.mix[1, 1] > 0.9


def _beside(spaces, scales):
    return np.hstack([scale * space for scale, space in zip(scales, spaces, strict=True) if scale])


def test_it_is_himalaya_s_random_search_over_the_same_mixes():
    x, new, fold, y = _data(50, 30, 20)
    ridge = BandedRidge(x, new, fold, CPU)
    mixes = candidates(ridge.power, 12)
    mixes = mixes[(mixes > 0).all(axis=1)]  # its penalties are the same for all mixes, ours not for corners
    found = ridge.fit(y[:, :4], mixes)
    set_backend("numpy")
    kernels, cross = (np.stack([b @ a.T for a, b in zip(x, rows, strict=True)]) for rows in (x, new))
    gammas = mixes * ridge.power.sum() / ridge.power
    unit = ridge.power.sum() / 100
    deltas, dual, *_, intercept = solve_multiple_kernel_ridge_random_search(
        kernels, y[:, :4], n_iter=gammas, alphas=PENALTIES * unit, cv=PredefinedSplit(fold),
        fit_intercept=True, return_weights="dual", progress_bar=False,
    )  # fmt: skip
    theirs = predict_weighted_kernel_ridge(cross, dual, deltas) + intercept
    np.testing.assert_allclose(found.predicted, theirs, rtol=1e-4, atol=1e-4)
    features = np.array([50, 30, 20])
    with np.errstate(divide="ignore"):
        per_space = 1 / np.exp(deltas.T) / (ridge.power / features)
    np.testing.assert_allclose(found.penalty, per_space, rtol=1e-6)


def test_targets_may_come_in_any_number_of_parts(monkeypatch):
    x, new, fold, y = _data(50, 30)
    whole = BandedRidge(x, new, fold, CPU)
    mixes = candidates(whole.power, 6)
    expected = whole.fit(y, mixes)
    monkeypatch.setattr(banded_ridge, "PART", 2)
    found = BandedRidge(x, new, fold, CPU).fit(y, mixes)
    np.testing.assert_array_equal(found.mix, expected.mix)
    np.testing.assert_allclose(found.predicted, expected.predicted, rtol=1e-5)


def test_candidates_lie_on_the_simplex_and_have_its_corners():
    mixes = candidates(np.array([30.0, 10.0, 60.0]), 40)
    assert mixes.shape == (40, 3)
    np.testing.assert_allclose(mixes.sum(axis=1), 1)
    assert (mixes >= 0).all()
    np.testing.assert_allclose(mixes[0], [0.3, 0.1, 0.6])
    np.testing.assert_array_equal(mixes[1:4], np.eye(3))
    ratios = np.log10(mixes[4:, 1:] / mixes[4:, :1])
    assert abs(ratios).max() <= 2
    quarters, counts = np.unique(ratios > 0, axis=0, return_counts=True)
    assert len(quarters) == 4
    assert counts.min() >= 7
