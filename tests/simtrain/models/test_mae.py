"""The masked autoencoder: its masks, its encoder, its loss."""

import pytest
import torch

from simtrain.models.mae import MAE, masked_error, patch_statistics
from simtrain.models.masking import Masking
from simtrain.models.sit import SiT

CPU = torch.device("cpu")
PATCHES, VERTICES, FRAMES = 20, 6, 3
DECODER = dict(dim=16, depth=1, heads=2, dim_head=8)


def _model(kind, decoder=DECODER, **options):
    torch.manual_seed(0)
    encoder = SiT(patches=PATCHES, patch_size=VERTICES * FRAMES, dim=24, depth=2, heads=3, **options)
    return MAE(encoder, frames=FRAMES, kind=kind, **decoder)


def _mask(kind, ratio=0.75, seed=0, batch=2):
    return Masking(kind, ratio, PATCHES, FRAMES, apart=False).draw(range(seed, seed + batch), CPU)


@pytest.mark.parametrize("kind", ["tubes", "random"])
@pytest.mark.parametrize(("ratio", "hidden"), [(0.75, 15), (0.5, 10), (0.33, 7)])
def test_every_sample_and_frame_hides_the_share_asked_for(kind, ratio, hidden):
    mask = _mask(kind, ratio, batch=7)
    assert mask.hidden.shape == (7, PATCHES, FRAMES)
    assert (mask.hidden.sum(dim=1) == hidden).all()
    assert len(mask.hidden[:, :, 0].unique(dim=0)) == 7


def test_tubes_are_the_same_in_all_frames_and_random_ones_are_not():
    tubes, random = _mask("tubes"), _mask("random")
    assert (tubes.hidden == tubes.hidden[:, :, :1]).all()
    assert torch.equal((~tubes.hidden[:, :, 0]).nonzero()[:, 1].view(2, -1), tubes.visible)
    assert random.visible is None
    assert not torch.equal(random.hidden[:, :, 0], random.hidden[:, :, 1])


@pytest.mark.parametrize("kind", ["tubes", "random"])
def test_the_mask_of_a_sample_is_its_seeds_alone(kind):
    torch.manual_seed(1)
    one = _mask(kind, seed=5)
    torch.manual_seed(2)
    assert torch.equal(one.hidden[1], _mask(kind, seed=6, batch=4).hidden[0])
    assert not torch.equal(one.hidden[0], one.hidden[1])


def test_every_patch_is_hidden_as_often():
    share = _mask("tubes", batch=4000).hidden[:, :, 0].float().mean(dim=0)
    assert (share - 0.75).abs().max() < 0.03  # 4 standard errors


@pytest.mark.parametrize("kind", ["tubes", "random"])
def test_with_nothing_hidden_the_encoder_is_sit(kind):
    model, x = _model(kind), torch.randn(2, PATCHES, VERTICES * FRAMES)
    nothing = _mask(kind, ratio=0.0)
    assert not nothing.hidden.any()
    torch.testing.assert_close(model.encode(x, nothing), model.encoder.tokens(x))


def test_the_encoder_of_tubes_sees_the_visible_patches_with_their_positions_alone():
    model, x, mask = _model("tubes"), torch.randn(2, PATCHES, VERTICES * FRAMES), _mask("tubes")
    encoded = model.encode(x, mask)
    for sample in range(2):
        visible = mask.visible[sample]
        tokens = model.encoder.embed(x[sample, visible]) + model.encoder.positions[0, visible]
        torch.testing.assert_close(encoded[sample], model.encoder.attend(tokens[None])[0])


@pytest.mark.parametrize("kind", ["tubes", "random"])
def test_what_is_hidden_does_not_reach_the_predictions(kind):
    model, x, mask = _model(kind), torch.randn(2, PATCHES, VERTICES * FRAMES), _mask(kind)
    hidden = mask.hidden.repeat(1, 1, VERTICES)
    other = torch.where(hidden, torch.randn_like(x), x)
    torch.testing.assert_close(model(x, mask), model(other, mask), rtol=0, atol=0)
    assert not torch.equal(model(x, mask), model(torch.where(hidden, x, other + 1), mask))


def test_with_a_summary_hidden_tokens_begin_with_the_mean_of_the_visible_ones():
    plain, summed = _model("tubes"), _model("tubes", {**DECODER, "summary": True})
    seen, mask = torch.randn(2, 1 + 5, 24), _mask("tubes")
    begun = []
    for model in (plain, summed):
        model.blocks[0].register_forward_pre_hook(lambda _, given: begun.append(given[0]))
        model.decode(seen, mask)
    summary = plain.to_decoder(seen)[:, 1:].mean(dim=1, keepdim=True)
    hidden = mask.hidden[:, :, :1]
    torch.testing.assert_close(begun[1][:, :1], begun[0][:, :1])
    torch.testing.assert_close(begun[1][:, 1:], begun[0][:, 1:] + hidden * summary)


def test_a_hidden_frame_is_told_from_one_that_is_zero():
    model, mask = _model("random"), _mask("random")
    x = torch.zeros(2, PATCHES, VERTICES * FRAMES)
    assert not torch.equal(model.encode(x, mask), model.encode(x, _mask("random", ratio=0.0)))


def test_every_hidden_patch_is_predicted_from_its_own_position():
    model, x, mask = _model("tubes"), torch.randn(1, PATCHES, VERTICES * FRAMES), _mask("tubes", batch=1)
    assert len(model(x, mask)[0].unique(dim=0)) == PATCHES


@pytest.mark.parametrize("kind", ["tubes", "random"])
def test_the_encoder_has_the_weights_of_sit_and_every_weight_a_gradient(kind):
    model, mask = _model(kind), _mask(kind)
    plain = SiT(patches=PATCHES, patch_size=VERTICES * FRAMES, dim=24, depth=2, heads=3)
    plain.load_state_dict(model.encoder.state_dict())
    model(torch.randn(2, PATCHES, VERTICES * FRAMES), mask).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("kind", ["tubes", "random"])
def test_bf16_predictions_are_close_to_float32(kind):
    model, x, mask = _model(kind), torch.randn(2, PATCHES, VERTICES * FRAMES), _mask(kind)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(x, mask)
    torch.testing.assert_close(half.float(), model(x, mask), rtol=0.05, atol=0.05)


def test_the_error_is_the_mean_over_what_counts_and_over_nothing_else():
    torch.manual_seed(0)
    predicted, target = torch.randn(2, 4, 5, 6).unbind()
    predicted.requires_grad_()
    counted = torch.rand(4, 5, 6) < 0.3
    error = masked_error(predicted, target, counted)
    torch.testing.assert_close(error, (predicted - target)[counted].square().mean())
    changed = torch.where(counted, target, torch.randn(4, 5, 6) * 100)
    assert torch.equal(masked_error(predicted, changed, counted), error)
    error.backward()
    assert (predicted.grad[~counted] == 0).all()
    assert (predicted.grad[counted] != 0).all()
    assert masked_error(predicted, target, torch.zeros_like(counted)) == 0


def test_statistics_of_a_patch_are_those_of_its_cortex():
    x, cortex = torch.randn(2, 5, 6), torch.rand(2, 5, 6) < 0.6
    cortex[1, 4] = False
    mean, deviation = patch_statistics(x, cortex)
    inside = x[0, 0][cortex[0, 0]]
    torch.testing.assert_close(mean[0, 0, 0], inside.mean())
    torch.testing.assert_close(deviation[0, 0, 0], (inside.var(correction=0) + 1e-6).sqrt())
    assert (mean[1, 4, 0], float(deviation[1, 4, 0])) == (0, pytest.approx(1e-3))
