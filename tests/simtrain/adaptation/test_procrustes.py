"""Rotations against scipy, and on planted scores: what they must undo, and what they must leave."""

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group

from simtrain.adaptation.choice import apart
from simtrain.adaptation.procrustes import rotations
from simtrain.data.windows import SAMPLE, WINDOW
from simtrain.models.alignment import Alignment, Components

K = 6


def planted(seed, windows, turned, noise):
    """The subject's scores (windows, 2, 3, K), and others' of which theirs are turned; both with noise."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((windows, 2, 3, K))
    own = np.einsum("nhpk,kl->nhpl", shared, turned.T) + noise * rng.standard_normal(shared.shape)
    others = shared + 0.3 * rng.standard_normal(shared.shape)
    return torch.from_numpy(own).float(), torch.from_numpy(others).float()


def alike(own, others):
    return float(np.corrcoef(own.flatten(), others.flatten())[0, 1])


def applied(own, turned):
    return torch.einsum("nhpk,hpkl->nhpl", own, turned)


@pytest.fixture
def turn():
    return ortho_group.rvs(K, random_state=np.random.default_rng(0))


def test_without_a_prior_they_are_scipy_s():
    rng = np.random.default_rng(0)
    own, others = rng.standard_normal((2, 50, 3, K)) + 1.0
    found = rotations(torch.from_numpy(own), torch.from_numpy(others), 0.0)
    for patch in range(3):
        centred = [of[:, patch] - of[:, patch].mean(axis=0) for of in (own, others)]
        np.testing.assert_allclose(found[patch], orthogonal_procrustes(*centred)[0], atol=1e-5)


def test_a_prior_is_as_rows_that_agree():
    """Procrustes of the same rows with an identity below both, as long as the prior is heavy."""
    rng = np.random.default_rng(0)
    own, others = rng.standard_normal((2, 50, K))
    own, others = own - own.mean(axis=0), others - others.mean(axis=0)
    heavy = 2.5 * np.sqrt(np.square(own).sum() * np.square(others).sum()) / K
    below = np.sqrt(heavy) * np.eye(K)
    expected, _ = orthogonal_procrustes(np.concatenate([own, below]), np.concatenate([others, below]))
    found = rotations(torch.from_numpy(own), torch.from_numpy(others), 2.5)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_planted_turn_is_undone_in_windows_that_were_not_fitted_on(turn):
    own, others = planted(0, 400, turn, noise=1.5)
    turned = rotations(own[:200], others[:200], 0.3)
    before, after = alike(own[200:], others[200:]), alike(applied(own[200:], turned), others[200:])
    assert after > before + 0.2
    plain = rotations(*planted(0, 400, turn, noise=0.3), 0.0)
    np.testing.assert_allclose(plain[1, 2], turn, atol=0.1)


def test_who_needs_none_keeps_nearly_all_with_few_windows_too():
    own, others = planted(0, 230, np.eye(K), noise=1.5)
    turned = rotations(own[:30], others[:30], 1.0)
    before, after = alike(own[30:], others[30:]), alike(applied(own[30:], turned), others[30:])
    assert after > before - 0.02
    torch.testing.assert_close(
        rotations(own, others, 1e6), torch.eye(K).expand(2, 3, K, K), atol=1e-3, rtol=0
    )


def test_a_patch_that_does_not_vary_stays_as_it_is(turn):
    own, others = planted(0, 40, turn, noise=1.0)
    own[:, 0, 1] = 0.0
    assert torch.equal(rotations(own, others, 1.0)[0, 1], torch.eye(K))


def test_the_components_turn_and_what_is_beside_them_stays(turn):
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((2, 10, K)))[0] * rng.uniform(0.5, 2, (2, 1, K))
    axes[1, :, 4:] = 0.0  # a patch with fewer components
    mean, patches = (torch.from_numpy(rng.standard_normal(shape)).float() for shape in ((2, 10), (5, 2, 10)))
    components = Components.of(mean, torch.from_numpy(axes).float())
    both = torch.stack([torch.eye(K), torch.from_numpy(turn).float()])
    samples = np.zeros(5, SAMPLE)
    samples["hemisphere"] = [1, 0, 1, 1, 0]
    found = Alignment(components, both[:, None].expand(-1, 2, -1, -1), (0, 1), 0)(samples, patches)
    torch.testing.assert_close(found[[1, 4]], patches[[1, 4]])
    expected = components.scores(patches)[[0, 2, 3]] @ both[1]
    torch.testing.assert_close(components.scores(found)[[0, 2, 3], 0], expected[:, 0])
    span = np.linalg.qr(axes[0])[0]
    beside = np.eye(10) - span @ span.T
    before, after = ((of - mean)[:, 0].numpy() @ beside for of in (patches, found))
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_another_subject_s_bold_is_not_aligned():
    components = Components.of(torch.zeros(1, 4), torch.eye(4)[None])
    with pytest.raises(AssertionError):
        Alignment(components, torch.eye(4)[None, None], (0,), 3)(np.zeros(1, SAMPLE), torch.zeros(1, 1, 4))


def test_windows_that_share_bold_with_those_left_out_are_not_fitted_on():
    windows = np.zeros(8, WINDOW)
    windows["second"], windows["movie"] = [0, 1, 2, 3, 4, 5, 6, 3], [0] * 7 + [1]
    assert apart(windows, windows[3:4], 3).tolist() == [True, False, False, False, False, False, True, True]
