"""A batch in parts must be the batch."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from simtrain.data.feeds import Batch
from simtrain.models.losses import contrastive
from simtrain.training import accumulation

WEIGHTS = {("fmri", "video"): 1.0}


class _Network(torch.nn.Module):
    """Embeds fMRI and two kinds of stimulus, of which one has no part in the loss."""

    def __init__(self, dropout):
        super().__init__()
        self.fmri = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Dropout(dropout)).double()
        self.clip = torch.nn.Linear(5, 4).double()

    def embed(self, batch):
        return {
            "fmri": normalize(self.fmri(batch.stored), dim=1),
            "video": normalize(self.clip(batch.stored), dim=1),
            "audio": normalize(self.clip(batch.stored), dim=1),
        }


def _batch(count=7):
    return Batch(np.arange(count), torch.randn(count, 5, dtype=torch.float64), "note")


@pytest.mark.parametrize("parts", [2, 3, 7, 100])
@pytest.mark.parametrize("kind", ["infonce", "siglip", "published"])
def test_gradients_in_parts_are_those_of_the_whole_batch(kind, parts):
    torch.manual_seed(0)
    batch, network, ignore = _batch(), _Network(0.0), torch.zeros(7, 7, dtype=bool)
    ignore[0, 6] = ignore[6, 0] = True
    loss = contrastive(kind, WEIGHTS, 0.3).double()
    trained = [*network.parameters(), *loss.parameters()]
    whole, _ = loss(network.embed(batch), ignore)
    expected = torch.autograd.grad(3 * whole, trained)
    value, named = accumulation.backward(
        accumulation.split(batch, parts),
        lambda _, part: network.embed(part),
        lambda embeddings: loss(embeddings, ignore),
        lambda value: 3 * value,
    )
    torch.testing.assert_close(value, whole)
    assert list(named) == ["fmri-video"]
    for parameter, gradient in zip(trained, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_parts_are_consecutive_and_whole():
    batch = _batch()
    parts = accumulation.split(batch, 3)
    assert [len(part.samples) for part in parts] == [3, 2, 2]
    assert np.array_equal(np.concatenate([part.samples for part in parts]), batch.samples)
    assert torch.equal(torch.cat([part.stored for part in parts]), batch.stored)


def test_a_frozen_encoder_has_no_gradient():
    network = _Network(0.0)
    network.fmri.requires_grad_(False)
    loss = contrastive("infonce_fixed", WEIGHTS, 0.3)
    parts = accumulation.split(_batch(), 2)
    ignore = torch.zeros(7, 7, dtype=bool)
    accumulation.backward(
        parts, lambda _, part: network.embed(part), lambda whole: loss(whole, ignore), lambda value: value
    )
    assert network.fmri[0].weight.grad is None
    assert network.clip.weight.grad.abs().sum() > 0
