import numpy as np
import pytest
import torch

from simtrain.frames import Frames
from simtrain.patches import patch_vertices

SCALE = 1 / 16


@pytest.fixture(scope="module")
def cortex():
    return np.random.default_rng(1).random((2, 40962)) < 0.9


def _stored(rng, dtype, cortex, hemisphere):
    z = rng.standard_normal((len(hemisphere), 3, 40962)) * 2 + 0.5
    fill = np.float32("nan") if dtype != np.int8 else -128
    stored = (z / SCALE).round().clip(-127, 127) if dtype == np.int8 else z
    return np.where(cortex[hemisphere][:, None], stored, fill).astype(dtype)


@pytest.mark.parametrize("dtype", [np.int8, np.float16, np.float32])
def test_frames_are_decoded_and_scored_over_the_cortex_as_by_numpy(cortex, dtype):
    rng, hemisphere = np.random.default_rng(0), np.array([0, 1, 1])
    stored = _stored(rng, dtype, cortex, hemisphere)
    patches = patch_vertices(2)
    got = Frames(cortex, patches)(torch.from_numpy(stored), torch.from_numpy(hemisphere)).numpy()
    scale = SCALE if dtype == np.int8 else 1.0
    for sample, side in enumerate(hemisphere):
        decoded = stored[sample].astype(np.float64) * scale
        inside = decoded[:, cortex[side]]
        expected = np.zeros_like(decoded)
        expected[:, cortex[side]] = (inside - inside.mean(axis=1, keepdims=True)) / inside.std(
            axis=1, keepdims=True
        )
        in_patches = expected[:, patches].transpose(1, 2, 0).reshape(len(patches), -1)
        np.testing.assert_allclose(got[sample], in_patches, atol=2e-5)


def test_a_flat_frame_is_zero_and_not_nan(cortex):
    stored = torch.full((1, 2, 40962), 5, dtype=torch.int8)
    scored = Frames(cortex, patch_vertices(1)).zscore(stored, torch.tensor([0]))
    assert torch.equal(scored, torch.zeros_like(scored))
