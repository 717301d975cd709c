"""The published loss, against its formula in NumPy's float64, whose gradient is worked out by hand."""

import numpy as np
import pytest
import torch

from simdata.common.errors import UserError
from simtrain.config.composition import load
from simtrain.models.losses import configured

PAIRS = {
    ("fmri", "video"): (0.8, np.e),
    ("fmri", "audio"): (0.1, np.e**0.5),
    ("video", "audio"): (0.1, np.e**0.5),
}


def _embeddings(names, n=7, dim=5):
    rng = np.random.default_rng(0)
    values = {name: rng.standard_normal((n, dim)) for name in names}
    return {name: of / np.linalg.norm(of, axis=1, keepdims=True) for name, of in values.items()}


def _softmax(logits):
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _pair(one, other, scale):
    """The loss, and its gradients with respect to the embeddings."""
    logits, n = scale * one @ other.T, len(one)
    rows, columns = _softmax(logits), _softmax(logits.T).T
    loss = -(np.log(rows.diagonal()).mean() + np.log(columns.diagonal()).mean()) / 2
    slope = scale * (rows + columns - 2 * np.eye(n)) / (2 * n)
    return loss, slope @ other, slope.T @ one


def _loss(*overrides, modalities="fmri,video,audio"):
    return configured(load("sim-tiny", ["loss.kind=published", *overrides], modalities))


def _ours(loss, embeddings):
    tensors = {
        name: torch.tensor(of, dtype=torch.float32, requires_grad=True) for name, of in embeddings.items()
    }
    n = len(embeddings["fmri"])
    value, parts = loss(tensors, torch.zeros(n, n, dtype=torch.bool))
    value.backward()
    return value.item(), parts, {name: tensor.grad.numpy() for name, tensor in tensors.items()}


def test_three_modalities_are_six_directions_with_scales_of_their_own():
    embeddings = _embeddings(["fmri", "video", "audio"])
    value, parts, gradients = _ours(_loss(), embeddings)
    expected, slopes = 0.0, {name: np.zeros_like(of) for name, of in embeddings.items()}
    for (one, other), (weight, scale) in PAIRS.items():
        loss, *of_pair = _pair(embeddings[one], embeddings[other], scale)
        assert parts[f"{one}-{other}"].item() == pytest.approx(loss, abs=1e-6)
        expected += weight * loss / 6
        for name, slope in zip((one, other), of_pair, strict=True):
            slopes[name] += weight * slope / 6
    assert value == pytest.approx(expected, abs=1e-6)
    for name, slope in slopes.items():
        np.testing.assert_allclose(gradients[name], slope, atol=1e-6)


@pytest.mark.parametrize("weight", [1, 0.8])
@pytest.mark.parametrize("stimulus", ["video", "audio"])
def test_two_modalities_are_their_pair_whatever_its_weight(stimulus, weight):
    embeddings = _embeddings(["fmri", stimulus])
    loss = _loss(f"loss.weights.fmri_{stimulus}={weight}", modalities=f"fmri,{stimulus}")
    value, _, gradients = _ours(loss, embeddings)
    expected, *slopes = _pair(embeddings["fmri"], embeddings[stimulus], np.e)
    assert value == pytest.approx(expected, abs=1e-6)
    for name, slope in zip(("fmri", stimulus), slopes, strict=True):
        np.testing.assert_allclose(gradients[name], slope, atol=1e-6)


def test_nothing_of_it_is_learned_and_a_temperature_is_for_all_pairs():
    assert list(_loss().parameters()) == []
    embeddings = _embeddings(["fmri", "video", "audio"])
    _, parts, _ = _ours(_loss("loss.temperature=0.2"), embeddings)
    for (one, other), _ in PAIRS.items():
        expected, *_ = _pair(embeddings[one], embeddings[other], 5)
        assert parts[f"{one}-{other}"].item() == pytest.approx(expected, abs=1e-5)


def test_it_takes_no_queue_and_neither_do_overlaps_as_negatives():
    with pytest.raises(UserError, match=r"loss\.queue does not go with published"):
        _loss("loss.queue=8")
    with pytest.raises(UserError, match=r"loss\.queue does not go with loss\.overlaps: negatives"):
        configured(load("demo", ["loss.queue=8", "loss.overlaps=negatives"]))
