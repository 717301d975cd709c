"""Rollout against the matrices written out, in float64 and head by head."""

import pytest
import torch

from simtrain.attribution.attention_maps import attention_to_patches, attention_weights, heads_to_patches
from simtrain.models.sit import SiT

BATCH, PATCHES, FRAMES = 2, 300, 2  # more tokens than are worked out at a time
SIZES = dict(patches=PATCHES, patch_size=8, dim=12, depth=3, heads=2, dim_head=6, frames=FRAMES)


def _encoder(**options):
    torch.manual_seed(0)
    encoder = SiT(**SIZES, **options).eval()
    for parameter in encoder.parameters():
        parameter.data *= 2  # sharper attention: near uniform weights would hide mistakes
    return encoder


def _matrices(encoder, x):
    """Of each block (sequences, heads, tokens, tokens), and the sequences of tokens behind it."""
    tokens = encoder.embed(x) + (encoder.positions if encoder.temporal != "concat" else 0)
    tokens = torch.cat([encoder.class_token.expand(len(x), -1, -1), tokens], dim=1)
    matrices = []
    for block in encoder.blocks:
        layer = block.attention
        q, k, v = (part.double() for part in layer.qkv(layer.norm(tokens)).chunk(3, dim=-1))
        heads = []
        for one, other in zip(q.chunk(2, -1), k.chunk(2, -1), strict=True):
            heads.append(torch.exp(one @ other.transpose(1, 2) / 6**0.5))
            heads[-1] /= heads[-1].sum(dim=-1, keepdim=True)
        matrices.append(torch.stack(heads, dim=1))
        mixed = torch.cat(
            [one @ values for one, values in zip(heads, v.chunk(2, -1), strict=True)], dim=-1
        ).float()
        tokens = tokens + layer.out(mixed)
        tokens = tokens + block.mlp(tokens)
    return matrices, encoder.norm(tokens)


def _rolled(matrices, heads):
    product = torch.eye(matrices[0].shape[-1], dtype=torch.float64)
    for matrix in matrices:
        fused = {"mean": matrix.mean(1), "max": matrix.max(1).values, "min": matrix.min(1).values}[heads]
        mixed = 0.5 * fused + 0.5 * torch.eye(fused.shape[-1])
        product = mixed / mixed.sum(dim=-1, keepdim=True) @ product
    return product


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("heads", ["mean", "max", "min"])
def test_rollout_is_the_product_of_all_blocks_matrices(pool, heads):
    encoder, x = _encoder(pool=pool), torch.randn(BATCH, PATCHES, 8)
    with torch.no_grad():
        matrices, tokens = _matrices(encoder, x)
        torch.testing.assert_close(tokens, encoder.tokens(x), rtol=1e-3, atol=1e-3)
    product = _rolled(matrices, heads)
    row = product[:, 0] if pool == "cls" else product[:, 1:].mean(dim=1)
    found = attention_to_patches(encoder, x, heads=heads)
    assert found.shape == (BATCH, PATCHES, 1)
    torch.testing.assert_close(found[..., 0].double(), row[:, 1:], rtol=1e-3, atol=1e-9)
    assert row[:, 1:].std() > 0.1 * row[:, 1:].mean()


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_attention_is_that_of_the_last_block(pool):
    encoder, x = _encoder(pool=pool), torch.randn(BATCH, PATCHES, 8)
    with torch.no_grad():
        last = _matrices(encoder, x)[0][-1].mean(dim=1)
    row = last[:, 0] if pool == "cls" else last[:, 1:].mean(dim=1)
    found = attention_to_patches(encoder, x, rollout=False)
    torch.testing.assert_close(found[..., 0].double(), row[:, 1:], rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("block", [0, 1, -1])
def test_heads_of_a_block_are_its_matrices_head_by_head(pool, block):
    encoder, x = _encoder(pool=pool), torch.randn(BATCH, PATCHES, 8)
    with torch.no_grad():
        matrix = _matrices(encoder, x)[0][block]
    rows = matrix[:, :, 0] if pool == "cls" else matrix[:, :, 1:].mean(dim=2)
    found = heads_to_patches(encoder, x, block)
    assert found.shape == (BATCH, PATCHES, 1, 2)
    torch.testing.assert_close(found[:, :, 0].double().transpose(1, 2), rows[..., 1:], rtol=1e-3, atol=1e-9)
    assert (found[..., 0] - found[..., 1]).abs().max() > 0.1 * found.mean()
    fused = attention_to_patches(encoder, x, rollout=False, block=block)
    torch.testing.assert_close(found.mean(dim=3), fused)


@pytest.mark.parametrize("temporal", ["average", "concat"])
def test_heads_and_frames_are_both_told_apart(temporal):
    encoder, x = _encoder(temporal=temporal), torch.randn(BATCH, PATCHES, 8)
    found = heads_to_patches(encoder, x)
    assert found.shape == (BATCH, PATCHES, FRAMES, 2)
    torch.testing.assert_close(found.mean(dim=3), attention_to_patches(encoder, x, rollout=False))


def test_a_frame_that_is_a_sequence_of_its_own_has_its_own_rollout():
    encoder, x = _encoder(temporal="average"), torch.randn(BATCH, PATCHES, 8)
    found = attention_to_patches(encoder, x)
    assert found.shape == (BATCH, PATCHES, FRAMES)
    for frame in range(FRAMES):
        with torch.no_grad():
            product = _rolled(_matrices(encoder, x[:, :, frame::FRAMES])[0], "mean")
        expected = product[:, 1:, 1:].mean(dim=1) / FRAMES
        torch.testing.assert_close(found[..., frame].double(), expected, rtol=1e-3, atol=1e-9)


def test_without_a_class_token_the_shares_of_all_patches_and_frames_sum_to_1():
    options = dict(temporal="concat", frame_positions="sequence", class_token=False)
    encoder, x = _encoder(**options), torch.randn(BATCH, PATCHES, 8)
    found = attention_to_patches(encoder, x)
    assert found.shape == (BATCH, PATCHES, FRAMES)
    torch.testing.assert_close(found.sum(dim=(1, 2)), torch.ones(BATCH))


def test_frames_in_one_sequence_are_told_apart_by_their_tokens():
    """A token whose keys stand out draws attention to its own frame and patch."""
    encoder, x = _encoder(temporal="concat"), torch.randn(BATCH, PATCHES, 8)
    found = attention_to_patches(encoder, x)
    with torch.no_grad():
        tokens = encoder.embed(x.unflatten(2, (-1, FRAMES)).permute(0, 3, 1, 2)) + encoder.positions
        tokens = (tokens + encoder.frame_embedding).flatten(1, 2)
        whole = SiT(**SIZES | {"patches": FRAMES * PATCHES, "patch_size": 12, "frames": 1}).eval()
        whole.load_state_dict(
            {name: values for name, values in encoder.state_dict().items() if name != "frame_embedding"}
            | {"embed.weight": torch.eye(12), "embed.bias": torch.zeros(12)}
        )
        whole.positions.zero_()
    expected = attention_to_patches(whole, tokens)[..., 0].view(BATCH, FRAMES, PATCHES).transpose(1, 2)
    torch.testing.assert_close(found, expected)


def test_the_encoder_is_left_as_it_was():
    encoder, x = _encoder(), torch.randn(BATCH, PATCHES, 8)
    before = encoder(x)
    attention_to_patches(encoder, x)
    assert torch.equal(encoder(x), before)
    assert not any(block.attention._forward_pre_hooks for block in encoder.blocks)
    assert before.requires_grad


def test_shares_of_all_tokens_sum_to_one():
    encoder, x = _encoder(pool="cls"), torch.randn(BATCH, PATCHES, 8)
    with torch.no_grad():
        own = _rolled(_matrices(encoder, x)[0], "mean")[:, 0, 0]
    total = attention_to_patches(encoder, x).sum(dim=(1, 2)).double() + own
    torch.testing.assert_close(total, torch.ones(BATCH, dtype=torch.float64), rtol=1e-4, atol=1e-4)
    weights = attention_weights(encoder.blocks[0].attention, torch.randn(1, 5, 12), slice(1, 3))
    assert weights.shape == (1, 2, 2, 5)
