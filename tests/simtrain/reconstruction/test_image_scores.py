import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2gray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from simtrain.reconstruction.image_scores import ROUNDING, correlation, cosine, psnr, ssim


def pictures(count, y, x, seed, smooth=1):
    values = np.random.default_rng(seed).integers(0, 256, (count, -(-y // smooth), -(-x // smooth), 3))
    return values.repeat(smooth, axis=1).repeat(smooth, axis=2)[:, :y, :x].astype(np.uint8)


def scored(score, one, other):
    found = score(*(torch.from_numpy(part).float() / 255 for part in (one, other)))
    assert found.shape == (len(one), len(other))
    assert found.dtype == torch.float32
    return found.numpy()


@settings(max_examples=15, deadline=None)
@given(st.integers(11, 30), st.integers(11, 30), st.integers(1, 6), st.integers(0, 999))
def test_scores_equal_those_of_scikit_image(y, x, smooth, seed):
    one, other = pictures(3, y, x, seed, smooth), pictures(4, y, x, seed + 1)
    other[3] = np.clip(one[2].astype(int) + 9, 0, 255)
    found = {score: scored(score, one, other) for score in (ssim, psnr, correlation)}
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            expected = structural_similarity(
                rgb2gray(a), rgb2gray(b), gaussian_weights=True, use_sample_covariance=False, data_range=1.0
            )
            assert found[ssim][i, j] == pytest.approx(expected, abs=2e-5)
            assert found[psnr][i, j] == pytest.approx(peak_signal_noise_ratio(a, b), abs=1e-3)
            expected = np.corrcoef(a.ravel(), b.ravel())[0, 1]
            assert found[correlation][i, j] == pytest.approx(expected, abs=1e-5)


def test_equal_pictures_have_the_largest_scores_and_plain_ones_tell_nothing():
    one = pictures(3, 12, 14, 0)
    one[2] = 77
    assert np.diag(scored(ssim, one, one)) == pytest.approx([1, 1, 1], abs=1e-5)
    assert np.diag(scored(psnr, one, one)) == pytest.approx([-10 * np.log10(ROUNDING)] * 3)
    assert -10 * np.log10(ROUNDING) == pytest.approx(58.92, abs=0.01)
    correlations = scored(correlation, one, one)
    assert np.diag(correlations) == pytest.approx([1, 1, 0])
    assert (correlations[2] == 0).all()


def test_more_pictures_than_are_held_in_double_precision_at_once(monkeypatch):
    one, other = pictures(7, 11, 12, 0), pictures(2, 11, 12, 1)
    whole = [scored(score, one, other) for score in (psnr, correlation)]
    monkeypatch.setattr("simtrain.reconstruction.image_scores.PART", 3)
    for expected, score in zip(whole, (psnr, correlation), strict=True):
        np.testing.assert_allclose(scored(score, one, other), expected, rtol=1e-6)


def test_cosine_is_that_of_the_features():
    one, other = (np.random.default_rng(seed).standard_normal((4, 9)).astype("f4") for seed in (0, 1))
    expected = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in other] for a in one]
    np.testing.assert_allclose(cosine(torch.from_numpy(one), torch.from_numpy(other)), expected, atol=1e-6)
