import math

import numpy as np
import pytest
import torch
from torch.nn.functional import gelu, layer_norm

from simtrain.models.positions import sincos_positions
from simtrain.models.projector import Projector
from simtrain.models.sim import SIM
from simtrain.models.sit import Attention, SiT

SIZES = dict(patches=20, patch_size=18, dim=24, depth=2, heads=3, dim_head=16)


def _norm(x, layer):
    return layer_norm(x, x.shape[-1:], layer.weight, layer.bias)


def _naive_attention(x, layer, heads):
    """Head by head, with the softmax written out."""
    q, k, v = (_norm(x, layer.norm) @ layer.qkv.weight.T).chunk(3, dim=-1)
    mixed = []
    for one in zip(q.chunk(heads, -1), k.chunk(heads, -1), v.chunk(heads, -1), strict=True):
        scores = one[0] @ one[1].transpose(1, 2) / math.sqrt(one[0].shape[-1])
        mixed.append(torch.softmax(scores, dim=-1) @ one[2])
    return torch.cat(mixed, dim=-1) @ layer.out[0].weight.T + layer.out[0].bias


def test_attention_equals_a_naive_one():
    torch.manual_seed(0)
    layer, x = Attention(24, heads=3, dim_head=16, dropout=0.0), torch.randn(2, 11, 24)
    torch.testing.assert_close(layer(x), _naive_attention(x, layer, 3))


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_sit_equals_its_formula(pool):
    torch.manual_seed(0)
    model, x = SiT(**SIZES, pool=pool), torch.randn(2, 20, 18)
    tokens = x @ model.embed.weight.T + model.embed.bias + sincos_positions(20, 24)
    tokens = torch.cat([model.class_token.expand(2, 1, 24), tokens], dim=1)
    for block in model.blocks:
        tokens = tokens + _naive_attention(tokens, block.attention, 3)
        norm, first, _, _, second, _ = block.mlp
        hidden = gelu(_norm(tokens, norm) @ first.weight.T + first.bias)
        tokens = tokens + hidden @ second.weight.T + second.bias
    tokens = _norm(tokens, model.norm)
    expected = tokens[:, 0] if pool == "cls" else tokens[:, 1:].mean(dim=1)
    torch.testing.assert_close(model(x), expected)
    assert first.out_features == 4 * 24


def test_positions_are_sines_then_cosines():
    angles = np.arange(5)[:, None] / 10_000 ** (np.arange(4) / 4)
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    np.testing.assert_allclose(sincos_positions(5, 8)[0], expected, atol=1e-6)


def test_positions_are_not_trained_and_not_saved():
    model = SiT(**SIZES)
    assert "positions" not in dict(model.named_parameters())
    assert "positions" not in model.state_dict()


def test_projector_equals_its_formula():
    torch.manual_seed(0)
    projector, x = Projector(6, 8).eval(), torch.randn(5, 6)
    h = x @ projector.project.weight.T + projector.project.bias
    linear = projector.refine[1]
    torch.testing.assert_close(
        projector(x), _norm(h + gelu(h) @ linear.weight.T + linear.bias, projector.norm)
    )


def test_sim_gives_unit_vectors_of_every_modality_in_one_space():
    torch.manual_seed(0)
    sim = SIM(SiT(**SIZES), {"fmri": 24, "video": 7, "audio": 3}, dim=10)
    embeddings = sim(torch.randn(4, 20, 18), {"video": torch.randn(4, 7), "audio": torch.randn(4, 3)})
    assert list(embeddings) == ["fmri", "video", "audio"]
    for embedding in embeddings.values():
        assert embedding.shape == (4, 10)
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(4))


def test_embeddings_are_float32_under_autocast():
    sim = SIM(SiT(**SIZES), {"fmri": 24}, dim=10)
    with torch.autocast("cpu", torch.bfloat16):
        assert sim.embed_fmri(torch.randn(2, 20, 18)).dtype == torch.float32


def _transformed(model, tokens):
    """Everything behind the embedding, of patch tokens (batch, n, dim)."""
    x = torch.cat([model.class_token.expand(len(tokens), -1, -1), tokens], dim=1)
    for block in model.blocks:
        x = block(x)
    return model.norm(x)


def test_concatenated_frames_are_one_sequence_with_a_shared_embedding():
    torch.manual_seed(0)
    model, x = SiT(**SIZES, frames=3, temporal="concat"), torch.randn(2, 20, 18)
    of_frames = [x[:, :, frame::3] for frame in range(3)]  # the frames of a vertex lie together
    tokens = [
        model.embed(values) + model.positions + model.frame_embedding[frame]
        for frame, values in enumerate(of_frames)
    ]
    expected = _transformed(model, torch.cat(tokens, dim=1))
    torch.testing.assert_close(model.tokens(x), expected)
    torch.testing.assert_close(model(x), expected[:, 1:].mean(dim=1))
    assert model.embed.weight.shape == (24, 6)


def test_frames_one_after_another_have_positions_that_run_through_them():
    torch.manual_seed(0)
    sizes = SIZES | {"frames": 3, "temporal": "concat", "frame_positions": "sequence"}
    model, x = SiT(**sizes), torch.randn(2, 20, 18)
    in_a_row = torch.cat([x[:, :, frame::3] for frame in range(3)], dim=1)
    expected = _transformed(model, model.embed(in_a_row) + sincos_positions(60, 24))
    torch.testing.assert_close(model.tokens(x), expected)
    assert not {"frame_embedding", "positions"} & model.state_dict().keys()


def test_the_mean_of_the_frames_is_encoded_as_one_frame():
    torch.manual_seed(0)
    model, x = SiT(**SIZES, frames=3, temporal="mean_frame"), torch.randn(2, 20, 18)
    single = SiT(**SIZES | {"patch_size": 6})
    single.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(x), single((x[:, :, 0::3] + x[:, :, 1::3] + x[:, :, 2::3]) / 3))


@pytest.mark.parametrize("temporal", ["channels", "concat", "average", "mean_frame"])
def test_without_a_class_token_there_are_the_patches_alone(temporal):
    torch.manual_seed(0)
    model, x = SiT(**SIZES, frames=3, temporal=temporal, class_token=False), torch.randn(2, 20, 18)
    tokens = model.tokens(x)
    assert tokens.shape[1] == (60 if temporal == "concat" else 20)
    torch.testing.assert_close(model(x), tokens.mean(dim=1))
    assert "class_token" not in model.state_dict()


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_averaged_frames_are_encoded_each_by_itself(pool):
    torch.manual_seed(0)
    model, x = SiT(**SIZES, frames=3, temporal="average", pool=pool), torch.randn(2, 20, 18)
    single = SiT(**SIZES | {"patch_size": 6}, pool=pool)
    single.load_state_dict(model.state_dict())
    expected = sum(single(x[:, :, frame::3]) for frame in range(3)) / 3
    torch.testing.assert_close(model(x), expected)


def test_checkpointing_changes_no_gradient_not_even_with_dropout():
    model, gradients = SiT(**SIZES, dropout=0.3), []
    for model.checkpointing in (False, True):
        torch.manual_seed(1)
        model.zero_grad()
        model(torch.ones(2, 20, 18)).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
