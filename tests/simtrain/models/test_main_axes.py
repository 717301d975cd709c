"""Main axes of rows in blocks, against sklearn's PCA."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from simtrain.models.main_axes import main_axes


def _rows(seed, count=300, columns=90):
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((count, 40)) * 0.8 ** np.arange(40)
    return latent @ rng.standard_normal((40, columns)) + rng.standard_normal()


@pytest.mark.parametrize("groups", [1, 3])
def test_they_are_those_of_sklearn_up_to_sign_in_every_group(groups):
    rows = [_rows(group) for group in range(groups)]
    blocks = torch.from_numpy(np.stack(rows, axis=1)).split(64)
    found = main_axes(lambda: blocks, 8)
    for group in range(groups):
        plain = PCA(8, svd_solver="full").fit(rows[group])
        np.testing.assert_allclose(found.mean[group], plain.mean_)
        np.testing.assert_allclose(found.variance[group], plain.explained_variance_, rtol=1e-4)
        np.testing.assert_allclose(found.share[group], plain.explained_variance_ratio_.sum(), rtol=1e-4)
        sign = np.sign((found.axes[group].numpy() * plain.components_).sum(axis=1))
        np.testing.assert_allclose(found.axes[group].numpy() * sign[:, None], plain.components_, atol=2e-3)


def test_there_are_no_more_than_rows_allow():
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 1, 50)))
    found = main_axes(lambda: [rows], 20)
    assert found.axes.shape == (1, 5, 50)
    np.testing.assert_allclose(found.variance[0], PCA(5).fit(rows[:, 0].numpy()).explained_variance_)


def test_a_group_that_does_not_vary_has_no_variance_along_any():
    rows = torch.randn(40, 2, 10, dtype=torch.float64)
    rows[:, 1] = 3.0
    found = main_axes(lambda: rows.split(16), 4)
    assert (found.variance[1] == 0).all()
    assert found.total[1] == 0
    assert (found.variance[0] > 0).all()
    assert found.axes.isfinite().all()
