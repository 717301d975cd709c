"""From tokens of the masked autoencoder's decoder to values of patches."""

import pytest
import torch
from sklearn.decomposition import PCA

from simtrain.models.patch_decodings import PCADecoding, PerPatchDecoding, make_decoding

PATCHES, DIM, VALUES, COMPONENTS = 5, 8, 12, 3


def _made(name):
    torch.manual_seed(0)
    return make_decoding(name, PATCHES, DIM, VALUES, COMPONENTS)


@pytest.mark.parametrize("name", ["linear", "per_patch", "pca"])
def test_tokens_of_any_number_of_sequences_become_values(name):
    decoding = _made(name)
    assert decoding(torch.randn(2, 3, PATCHES, DIM)).shape == (2, 3, PATCHES, VALUES)


def test_maps_of_each_patch_begin_as_the_shared_one():
    tokens, shared, own = torch.randn(4, PATCHES, DIM), _made("linear"), _made("per_patch")
    torch.testing.assert_close(own(tokens), shared(tokens))


@pytest.mark.parametrize("kind", [PerPatchDecoding, PCADecoding])
def test_a_patch_has_weights_of_its_own(kind):
    decoding = _made("per_patch" if kind is PerPatchDecoding else "pca")
    if kind is PCADecoding:
        decoding.axes.normal_()
    decoding(torch.randn(2, PATCHES, DIM))[:, 1].sum().backward()
    of_patches = decoding.weight.grad.unflatten(0, (PATCHES, -1)).abs().amax(dim=(1, 2))
    assert (of_patches > 0).tolist() == [False, True, False, False, False]


def test_components_are_those_of_scikit_learn_and_begin_at_the_mean():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(PATCHES, VALUES, VALUES, generator=generator)
    rows = torch.einsum("npk,pkv->npv", torch.randn(300, PATCHES, VALUES, generator=generator), mixing) + 2
    decoding = _made("pca")
    decoding.fit(lambda: iter(rows.split(64)))
    torch.testing.assert_close(decoding(torch.randn(1, PATCHES, DIM))[0], rows.mean(dim=0))
    for patch in range(PATCHES):
        oracle = PCA(COMPONENTS, svd_solver="full").fit(rows[:, patch].double().numpy())
        covariance = decoding.axes[patch].double().T @ decoding.axes[patch].double()
        expected = oracle.components_.T * oracle.explained_variance_ @ oracle.components_
        torch.testing.assert_close(covariance, torch.from_numpy(expected), rtol=1e-3, atol=1e-3)


def test_of_a_patch_that_does_not_vary_nothing_but_its_mean_is_predicted():
    rows = torch.ones(50, PATCHES, VALUES)
    decoding = _made("pca")
    decoding.fit(lambda: iter([rows]))
    torch.nn.init.ones_(decoding.weight)
    torch.testing.assert_close(decoding(torch.randn(2, PATCHES, DIM)), rows[:2])
