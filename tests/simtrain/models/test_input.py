import gc

import numpy as np
import pytest
import torch

from simtrain.models.input import FramePatches
from simtrain.surface.patches import patch_vertices

SCALE = 1 / 16
WAYS = {
    "compiled loop": FramePatches.forward,
    "torch": FramePatches.on_device,
    # As on a GPU with train.compile: one graph, whatever then makes kernels of it.
    "torch.compile": lambda frames, *batch: torch.compile(
        frames.on_device, backend="aot_eager", fullgraph=True
    )(*batch),
}


@pytest.fixture(scope="module")
def cortex():
    return np.random.default_rng(1).random((2, 40962)) < 0.9


def _stored(rng, dtype, cortex, hemisphere, frames=3):
    z = rng.standard_normal((len(hemisphere), frames, 40962)) * 2 + 0.5
    stored = (z / SCALE).round().clip(-127, 127) if dtype == np.int8 else z
    outside = rng.integers(-128, 128, z.shape) if dtype == np.int8 else np.float32("nan")
    return np.where(cortex[hemisphere][:, None], stored, outside).astype(dtype)


def _expected(stored, hemisphere, cortex, patches):
    scored = np.zeros(stored.shape)
    for sample, side in enumerate(hemisphere):
        inside = stored[sample][:, cortex[side]].astype(np.float64)
        scored[sample][:, cortex[side]] = (inside - inside.mean(axis=1, keepdims=True)) / inside.std(
            axis=1, keepdims=True
        )
    return scored[:, :, patches].transpose(0, 2, 3, 1).reshape(len(stored), len(patches), -1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [np.int8, np.float16, np.float32])
def test_frames_are_decoded_and_scored_over_the_cortex_as_by_numpy(cortex, dtype, way):
    rng, hemisphere = np.random.default_rng(0), np.array([0, 1, 1])
    stored, patches = _stored(rng, dtype, cortex, hemisphere), patch_vertices(2)
    batch = torch.from_numpy(stored), torch.from_numpy(hemisphere)
    got = WAYS[way](FramePatches(cortex, patches), *batch)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got, _expected(stored, hemisphere, cortex, patches), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("frames", [1, 2, 4, 5, 8, 100])
@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_windows_of_any_length(cortex, dtype, frames):
    rng, hemisphere = np.random.default_rng(frames), np.array([1, 0])
    stored, patches = _stored(rng, dtype, cortex, hemisphere, frames), patch_vertices(1)
    got = FramePatches(cortex, patches)(torch.from_numpy(stored), torch.from_numpy(hemisphere))
    np.testing.assert_allclose(got, _expected(stored, hemisphere, cortex, patches), rtol=1e-6, atol=1e-6)


def test_the_largest_sums_are_exact():
    """All values are at the ends of int8's range, and so the largest sum of squares there is."""
    whole, patches = np.ones((2, 40962), bool), np.arange(40962)[None]
    stored = np.full((1, 3, 40962), -127, np.int8)
    stored[:, :, ::2] = 127
    hemisphere = np.array([1])
    got = FramePatches(whole, patches)(torch.from_numpy(stored), torch.from_numpy(hemisphere))
    np.testing.assert_allclose(got, _expected(stored, hemisphere, whole, patches), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [torch.tensor(5, dtype=torch.int8), torch.tensor(0.1)])
def test_a_flat_frame_is_zero_and_not_nan(cortex, way, value):
    stored, frames = value.repeat(1, 2, 40962), FramePatches(cortex, patch_vertices(1))
    for scored in (WAYS[way](frames, stored, torch.tensor([0])), frames.zscore(stored, torch.tensor([0]))):
        assert torch.equal(scored, torch.zeros_like(scored))


def test_the_whole_mesh_and_its_patches_are_scored_alike(cortex):
    rng, hemisphere = np.random.default_rng(0), np.array([0, 1])
    stored = torch.from_numpy(_stored(rng, np.int8, cortex, hemisphere))
    frames = FramePatches(cortex, patch_vertices(3))
    sides = torch.from_numpy(hemisphere)
    whole = frames.zscore(stored, sides)[:, :, frames.vertices].transpose(1, 2)
    torch.testing.assert_close(frames(stored, sides), whole.reshape(2, 1280, -1), rtol=1e-6, atol=1e-6)


def test_threads_do_not_change_a_bit(cortex):
    rng, hemisphere = np.random.default_rng(0), np.arange(7) % 2
    stored = torch.from_numpy(_stored(rng, np.int8, cortex, hemisphere))
    frames, sides = FramePatches(cortex, patch_vertices(3)), torch.from_numpy(hemisphere)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 3, 16):
            torch.set_num_threads(threads)
            found.append(frames(stored, sides))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert torch.equal(
        found[0], torch.cat([frames(s[None], h[None]) for s, h in zip(stored, sides, strict=True)])
    )


def test_memory_is_used_again_only_when_autograd_is_done_with_it(cortex):
    stored = torch.from_numpy(_stored(np.random.default_rng(0), np.int8, cortex, np.array([0])))
    frames, side = FramePatches(cortex, patch_vertices(1)), torch.tensor([0])
    weight = torch.ones(frames.shape[1] * 3, 1, requires_grad=True)
    patches = frames(stored, side)
    address, expected = patches.data_ptr(), patches.sum(dim=(0, 1))[:, None].clone()
    product = patches @ weight
    del patches
    gc.collect()
    other = frames(stored.flip(2), side)
    assert other.data_ptr() != address, "the graph still needs it"
    product.sum().backward()
    torch.testing.assert_close(weight.grad, expected)
    del product
    gc.collect()
    assert frames(stored, side).data_ptr() == address
