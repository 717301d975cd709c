"""vsMAE against the published one, written out again from its description: masks, forward, loss, gradients.

A token is a patch of a frame, frame after frame. Tokens get positions that run through all frames; of each
sample those with the smallest noise are kept, in that order. The encoder, without a class token, sees these
alone. The decoder gets them at their places, as they are where it is as wide, and one learned vector
elsewhere, adds its own positions, and predicts the values of each patch of each frame. The error is the mean
over all values of hidden patches, or over all.
"""

import numpy as np
import pytest
import torch
from published_architecture import PLAIN, WRAPPED, affine, linear, normed, save, transformed, transformer

from simtrain.models.mae import MAE, masked_error
from simtrain.models.masking import Masking
from simtrain.models.published_names import LAYERS, WRAPPED_LAYERS, read_encoder
from simtrain.models.sit import SiT

CPU = torch.device("cpu")
PATCHES, VERTICES, FRAMES, DIM, HEADS = 80, 561, 3, 24, 3
INNER, DEPTH = HEADS * 8, 2
KINDS = ("tubes", "random")
UNTRAINED = ("norm.", "patch_to_emb.", "encoder.mlp_head.1")  # the encoder's own once more, and of no use


def sincos(rows, dim):
    """He et al.'s positions of a grid of one axis, in NumPy."""
    omega = 1 / 10000 ** (np.arange(dim // 2, dtype=np.float64) / (dim / 2))
    angles = np.outer(np.arange(rows), omega)
    return torch.from_numpy(np.concatenate([np.sin(angles), np.cos(angles)], axis=1)).float()[None]


def weights(names, decoder_dim):
    """As `encoder-decoder-best.pt` has them; `encoder-best.pt` is what is below ``encoder.``, without it."""
    torch.manual_seed(0)
    sit = {"pos_embedding": sincos(FRAMES * PATCHES, DIM)} | affine("to_patch_embedding.1", DIM, VERTICES)
    sit |= transformer("transformer", DEPTH, DIM, INNER, names)
    sit |= affine("mlp_head.0", DIM) | affine("mlp_head.1", 1, DIM)
    state = {f"encoder.{key}": value for key, value in sit.items()}
    for own, twice in (("to_patch_embedding.1", "patch_to_emb"), ("mlp_head.0", "norm")):
        state |= {f"{twice}.{end}": sit[f"{own}.{end}"] for end in ("weight", "bias")}
    if decoder_dim != DIM:
        state |= affine("enc_to_dec", decoder_dim, DIM)
    state |= transformer("decoder", 1, decoder_dim, INNER, names)
    state |= {
        "decoder_pos_emb": sincos(FRAMES * PATCHES, decoder_dim),
        "mask_token": torch.randn(decoder_dim),
    }
    return state | affine("decoder_norm", decoder_dim) | affine("to_pixels", VERTICES, decoder_dim)


def kept(kind, ratio, noise):
    """(batch, n) tokens in the order of their noise, (batch, patches) or (batch, frames * patches)."""
    count = noise.shape[1]
    if kind == "tubes":
        patches = noise.argsort(dim=1)[:, : int(count * (1 - ratio))]
        return torch.cat([patches + frame * count for frame in range(FRAMES)], dim=1)
    return noise.argsort(dim=1)[:, : int(count * round(1 - ratio, 2))]


def published(state, x, keep):
    """(batch, frames, patches, vertices) -> (batch, frames * patches, vertices)."""
    encoder = {key.removeprefix("encoder."): value for key, value in state.items()}
    rows = torch.arange(len(x))[:, None]
    x = linear(torch.cat(list(x.transpose(0, 1)), dim=1), encoder, "to_patch_embedding.1")
    x = transformed((x + encoder["pos_embedding"])[rows, keep], encoder, "transformer", HEADS)
    x = normed(x, encoder, "mlp_head.0")
    if "enc_to_dec.weight" in state:
        x = linear(x, state, "enc_to_dec")
    everywhere = state["mask_token"].expand(len(x), FRAMES * PATCHES, -1).clone()
    everywhere[rows, keep] = x
    x = transformed(everywhere + state["decoder_pos_emb"], state, "decoder", HEADS)
    return linear(normed(x, state, "decoder_norm"), state, "to_pixels")


def published_loss(kind, predicted, x, keep, of_hidden=True):
    target = torch.cat(list(x.transpose(0, 1)), dim=1)
    errors = (predicted - target) ** 2 if kind == "mse" else abs(predicted - target)
    if not of_hidden:
        return errors.mean()
    hidden = torch.ones(predicted.shape[:2], dtype=torch.bool)
    hidden[torch.arange(len(x))[:, None], keep] = False
    return errors[hidden].mean()


def decoder_names(names):
    """Ours -> theirs."""
    layers = WRAPPED_LAYERS if names == WRAPPED else LAYERS
    pairs = {"to_values": "to_pixels"} | {f"blocks.0.{o}": f"decoder.layers.0.{t}" for o, t in layers.items()}
    if names == WRAPPED:
        return pairs | {"norm": "decoder_norm"}
    return pairs | {"norm.0": "decoder.norm", "norm.1": "decoder_norm"}


def ours(state, kind, names, tmp_path, **options):
    """Our model with those weights, and our name -> theirs, of all that is trained."""
    file = save({key: value.detach() for key, value in state.items()}, tmp_path / "encoder-decoder-best.pt")
    read, decoder_dim = read_encoder(file), state["mask_token"].shape[0]
    sizes = dict(patches=PATCHES, patch_size=VERTICES * FRAMES, dim=DIM, depth=DEPTH, heads=HEADS, dim_head=8)
    how = dict(frames=FRAMES, temporal="concat", frame_positions="sequence", class_token=False)
    encoder = SiT(**sizes, **how, final_norms=read.final_norms, **options)
    model = MAE(encoder, frames=FRAMES, kind=kind, dim=decoder_dim, depth=1, heads=HEADS, dim_head=8)
    pairs = decoder_names(names) | ({"to_decoder": "enc_to_dec"} if decoder_dim != DIM else {})
    whole = {
        f"{own}.{end}": state[f"{theirs}.{end}"].detach()
        for own, theirs in pairs.items()
        for end in ("weight", "bias")
        if f"{theirs}.{end}" in state
    }
    whole |= {f"encoder.{key}": value for key, value in read.weights.items() if "class_token" not in key}
    torch.testing.assert_close(whole.pop("encoder.positions"), encoder.positions, atol=1e-5, rtol=0)
    model.load_state_dict({**whole, "mask_token": state["mask_token"].detach()[None, None]})
    return model, pairs


def flat(x):
    """(batch, frames, patches, vertices) -> (batch, patches, vertices * frames), ours."""
    return x.permute(0, 2, 3, 1).flatten(2)


@pytest.mark.parametrize("ratio", [0.75, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_masks_keep_what_the_published_ones_keep_of_the_same_noise(kind, ratio):
    masking = Masking(kind, ratio, PATCHES, FRAMES, apart=True)
    count = PATCHES * (FRAMES if kind == "random" else 1)
    noise = torch.cat([torch.rand(1, count, generator=torch.Generator().manual_seed(s)) for s in range(4)])
    mask = masking.draw(range(4), CPU)
    keep = kept(kind, ratio, noise)
    assert torch.equal(mask.visible, keep.sort(dim=1).values)
    hidden = torch.ones(4, FRAMES * PATCHES, dtype=torch.bool).scatter_(1, keep, False)
    assert torch.equal(mask.hidden, hidden.unflatten(1, (FRAMES, -1)).transpose(1, 2))


@pytest.mark.parametrize("decoder_dim", [DIM, 16])
@pytest.mark.parametrize("names", [WRAPPED, PLAIN], ids=["prenorm", "norm within"])
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_losses_and_gradients_equal_the_published_ones(kind, names, decoder_dim, tmp_path):
    state = weights(names, decoder_dim)
    model, pairs = ours(state, kind, names, tmp_path)
    for value in state.values():
        value.requires_grad_()
    mask = Masking(kind, 0.75, PATCHES, FRAMES, apart=True).draw(range(2), CPU)
    order = torch.rand(mask.visible.shape).argsort(dim=1)  # whatever the noise was
    x, keep = torch.randn(2, FRAMES, PATCHES, VERTICES), mask.visible.gather(1, order)
    expected, predicted = published(state, x, keep), model(flat(x), mask)
    torch.testing.assert_close(predicted, flat(expected.unflatten(1, (FRAMES, -1))), atol=1e-5, rtol=0)
    hidden = mask.hidden.repeat(1, 1, VERTICES)
    for loss in ("mse", "l1"):
        for counted, of_hidden in ((hidden, True), (torch.ones_like(hidden), False)):
            found = masked_error(predicted, flat(x), counted, loss)
            torch.testing.assert_close(
                found, published_loss(loss, expected, x, keep, of_hidden), atol=1e-6, rtol=1e-6
            )
        model.zero_grad()
        found = masked_error(predicted, flat(x), hidden, loss)
        found.backward(retain_graph=True)
        trained = [key for key in state if not key.startswith(UNTRAINED)]
        wanted = torch.autograd.grad(
            published_loss(loss, expected, x, keep), [state[key] for key in trained], retain_graph=True
        )
        _must_have_gradients(model, pairs, names, dict(zip(trained, wanted, strict=True)))


def _must_have_gradients(model, pairs, names, wanted):
    layers = WRAPPED_LAYERS if names == WRAPPED else LAYERS
    pairs = pairs | {"encoder.embed": "encoder.to_patch_embedding.1"}
    pairs |= {
        f"encoder.blocks.{block}.{own}": f"encoder.transformer.layers.{block}.{theirs}"
        for block in range(DEPTH)
        for own, theirs in layers.items()
    }
    if names == WRAPPED:
        pairs |= {"encoder.norm": "encoder.mlp_head.0"}
    else:
        pairs |= {"encoder.norm.0": "encoder.transformer.norm", "encoder.norm.1": "encoder.mlp_head.0"}
    for name, parameter in model.named_parameters():
        stem, _, end = name.rpartition(".")
        theirs = wanted["mask_token"][None, None] if name == "mask_token" else wanted[f"{pairs[stem]}.{end}"]
        torch.testing.assert_close(parameter.grad, theirs, atol=1e-5, rtol=1e-4, msg=name)


def test_activations_that_are_worked_out_again_change_no_gradient(tmp_path):
    gradients = []
    for again in (False, True):
        model, _ = ours(weights(PLAIN, 16), "tubes", PLAIN, tmp_path, checkpointing=again)
        mask = Masking("tubes", 0.75, PATCHES, FRAMES, apart=True).draw(range(2), CPU)
        torch.manual_seed(3)
        model(torch.randn(2, PATCHES, VERTICES * FRAMES), mask).square().mean().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("positions", ["learned", "sequence"])
@pytest.mark.parametrize("class_token", [True, False])
def test_the_hidden_reaches_no_prediction_and_with_none_hidden_it_is_sit(kind, positions, class_token):
    torch.manual_seed(0)
    sizes = dict(patches=20, patch_size=18, dim=24, depth=1, heads=3, dim_head=8, frames=3)
    encoder = SiT(**sizes, temporal="concat", frame_positions=positions, class_token=class_token)
    model = MAE(encoder, frames=3, kind=kind, dim=16, depth=1, heads=2, dim_head=8)
    x, mask = torch.randn(2, 20, 18), Masking(kind, 0.75, 20, 3, apart=True).draw(range(2), CPU)
    other = torch.where(mask.hidden.repeat(1, 1, 6), torch.randn_like(x), x)
    assert torch.equal(model(x, mask), model(other, mask))
    assert not torch.equal(model(x, mask), model(x + 1, mask))
    nothing = Masking(kind, 0.0, 20, 3, apart=True).draw(range(2), CPU)
    torch.testing.assert_close(model.encode(x, nothing), encoder.tokens(x))
    model(x, mask).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
