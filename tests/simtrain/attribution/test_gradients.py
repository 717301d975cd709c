import pytest
import torch
from sklearn.metrics import roc_auc_score

from simtrain.attribution.attention_maps import attention_to_patches
from simtrain.attribution.gradients import gradient, gradient_times_input, integrated_gradients
from simtrain.models.losses import InfoNCE
from simtrain.models.sim import SIM, PerTokenSIM
from simtrain.models.sit import SiT


def _model():
    torch.manual_seed(0)
    encoder = SiT(patches=20, patch_size=6, dim=12, depth=2, heads=2, dim_head=6)
    return PerTokenSIM(encoder, {"fmri": 12, "video": 5}, 8).double().eval()


def _similarity(model):
    clips = model.embed_stimuli({"video": torch.randn(3, 5, dtype=torch.float64)})["video"].detach()
    return lambda x: (model.embed_fmri(x) * clips).sum(dim=-1)


def test_the_gradient_is_that_of_finite_differences():
    score, x = _similarity(_model()), torch.randn(3, 20, 6, dtype=torch.float64)
    with torch.no_grad():  # as where it is called
        found = gradient(score, x)
    assert not found.requires_grad
    for index in [(0, 0, 0), (1, 7, 3), (2, 19, 5)]:
        step = torch.zeros_like(x)
        step[index] = 1e-3
        # embed_fmri ends in float32.
        with torch.no_grad():
            slope = float((score(x + step) - score(x - step))[index[0]]) / 2e-3
        assert float(found[index]) == pytest.approx(slope, abs=2e-4)
    assert torch.equal(gradient_times_input(score, x), found * x)


def test_samples_do_not_see_each_other():
    score, x = _similarity(_model()), torch.randn(3, 20, 6, dtype=torch.float64)
    changed = x.clone()
    changed[2] += 1
    torch.testing.assert_close(gradient(score, changed)[:2], gradient(score, x)[:2])


def test_integrated_gradients_sum_to_the_difference_from_the_baseline():
    score, x = _similarity(_model()), torch.randn(3, 20, 6, dtype=torch.float64)
    difference = (score(x) - score(torch.zeros_like(x))).detach()
    assert difference.abs().min() > 0.01
    coarse, fine = (integrated_gradients(score, x, steps).sum(dim=(1, 2)) for steps in (2, 24))
    torch.testing.assert_close(fine, difference.double(), rtol=0, atol=1e-5)
    assert (coarse - difference).abs().max() > 1e-4  # the test can fail


def test_integrated_gradients_of_a_polynomial_are_exact():
    """x1**2 * x2 has the integrals 2/3 and 1/3 of itself; a plain gradient times input would have 2 and 1."""
    x = torch.tensor([[3.0, -2.0], [0.5, 4.0]], dtype=torch.float64)

    def score(x):
        return x[:, 0] ** 2 * x[:, 1]

    expected = score(x)[:, None] * torch.tensor([2 / 3, 1 / 3], dtype=torch.float64)
    torch.testing.assert_close(integrated_gradients(score, x, 2), expected)
    torch.testing.assert_close(
        gradient_times_input(score, x), score(x)[:, None] * torch.tensor([2.0, 1.0], dtype=torch.float64)
    )


REGION = torch.arange(80) < 20


def _draw(maps, count, seed):
    """Noise in all patches, and in those of the region a response to what the clip shows."""
    rng = torch.Generator().manual_seed(seed)
    latent = torch.randn(count, 5, generator=rng)
    noise = torch.randn(count, 80, 12, generator=rng)
    return noise + REGION[:, None] * (latent @ maps.flatten(1)).view(count, 80, 12), latent


def test_a_trained_model_draws_on_the_patches_that_respond():
    """New data at every step: there is nothing to learn by heart."""
    torch.manual_seed(0)
    encoder = SiT(patches=80, patch_size=12, dim=24, depth=1, heads=2, dim_head=12)
    model, maps = SIM(encoder, {"fmri": 24, "video": 5}, 16), torch.randn(5, 80, 12) / 2
    loss = InfoNCE({("fmri", "video"): 1.0}, 0.07)
    optimizer = torch.optim.AdamW([*model.parameters(), *loss.parameters()], 3e-3)
    areas = [_areas(model, maps)]
    for step in range(150):
        x, latent = _draw(maps, 32, step)
        optimizer.zero_grad()
        loss(model(x, {"video": latent}), torch.zeros(32, 32, dtype=torch.bool))[0].backward()
        optimizer.step()
    areas.append(_areas(model, maps))
    before, after = areas
    assert before["sensitivity"] < 0.5 < 0.95 < after["sensitivity"]
    assert before["integrated"] < 0.7 < 0.9 < after["integrated"]
    assert before["rollout"] < 0.95 < after["rollout"]
    # Gradient times input is local: where the similarity saturates, more signal is no gain.
    assert after["gradient"] < after["integrated"]


def _areas(model, maps):
    """Under the ROC curve, with which the mean over new samples of each method tells the region."""
    x, latent = _draw(maps, 64, 1000)
    clips = model.embed_stimuli({"video": latent})["video"].detach()

    def score(x):
        return (model.embed_fmri(x) * clips).sum(dim=-1)

    maps = {
        "sensitivity": gradient(score, x).abs(),
        "gradient": gradient_times_input(score, x),
        "integrated": integrated_gradients(score, x, 8),
        "rollout": attention_to_patches(model.encoder, x),
    }
    return {name: roc_auc_score(REGION, values.sum(dim=2).mean(dim=0)) for name, values in maps.items()}
