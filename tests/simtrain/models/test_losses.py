import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, normalize

from simtrain.models.losses import InfoNCE, contrastive, false_negatives


def _embeddings(n=6, dim=5):
    torch.manual_seed(0)
    return {name: normalize(torch.randn(n, dim), dim=1) for name in ("fmri", "video", "audio")}


def _reference(one, other, temperature):
    logits = one @ other.T / temperature
    target = torch.arange(len(one))
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2


def test_the_loss_is_the_weighted_mean_over_pairs():
    embeddings, ignore = _embeddings(), torch.zeros(6, 6, dtype=bool)
    weights = {("fmri", "video"): 0.8, ("fmri", "audio"): 0.1, ("video", "audio"): 0.1}
    loss, parts = InfoNCE(weights, 0.07)(embeddings, ignore)
    expected = {pair: _reference(embeddings[pair[0]], embeddings[pair[1]], 0.07) for pair in weights}
    for pair, value in expected.items():
        torch.testing.assert_close(parts["-".join(pair)], value)
    torch.testing.assert_close(loss, sum(weights[pair] * value for pair, value in expected.items()))


def test_weights_are_renormalised_and_a_weight_of_zero_drops_its_pair():
    embeddings, ignore = _embeddings(), torch.zeros(6, 6, dtype=bool)
    loss, parts = InfoNCE({("fmri", "video"): 0.8, ("video", "audio"): 0.0}, 0.1)(embeddings, ignore)
    assert list(parts) == ["fmri-video"]
    torch.testing.assert_close(loss, _reference(embeddings["fmri"], embeddings["video"], 0.1))


def test_ignored_pairs_count_as_if_they_were_not_in_the_batch():
    embeddings = {name: values[:3] for name, values in _embeddings().items()}
    ignore = torch.tensor([[0, 1, 1], [1, 0, 0], [1, 0, 0]], dtype=bool)
    loss, _ = InfoNCE({("fmri", "video"): 1.0}, 0.1)(embeddings, ignore)
    # The first sample has no negatives left, so its loss is 0; the other two have each other.
    others = _reference(embeddings["fmri"][1:], embeddings["video"][1:], 0.1)
    torch.testing.assert_close(loss, others * 2 / 3)


def test_the_gradient_of_the_temperature_and_of_embeddings_is_right():
    ignore = torch.zeros(4, 4, dtype=bool)
    ignore[0, 1] = ignore[1, 0] = True
    loss = InfoNCE({("fmri", "video"): 1.0}, 0.5).double()
    one, other = (torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def of(scale, one, other):
        with torch.no_grad():
            loss.log_scale.copy_(scale)
        return torch.func.functional_call(
            loss, {"log_scale": scale}, ({"fmri": one, "video": other}, ignore)
        )[0]

    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(of, (scale, one, other))


def test_the_temperature_is_learned_and_bounded():
    loss = InfoNCE({("fmri", "video"): 1.0}, 0.07)
    assert loss.temperature == pytest.approx(0.07)
    optimizer, embeddings = torch.optim.SGD(loss.parameters(), 50.0), _embeddings()
    embeddings["video"] = embeddings["fmri"]  # perfect: a sharper softmax is better without end
    for _ in range(20):
        value, _ = loss(embeddings, torch.zeros(6, 6, dtype=bool))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    loss(embeddings, torch.zeros(6, 6, dtype=bool))
    assert 0.01 <= loss.temperature + 1e-6 < 0.07


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), min_size=1, max_size=12), st.integers(1, 6))
def test_false_negatives_are_windows_that_share_a_second(samples, window):
    movie, second = np.array(samples, dtype=np.int32).T
    mask = false_negatives(movie, second, window)
    for i, (one, start) in enumerate(samples):
        for j, (other, begin) in enumerate(samples):
            shared = set(range(start, start + window)) & set(range(begin, begin + window))
            assert mask[i, j] == (i != j and one == other and bool(shared))


def test_a_fixed_temperature_stays_and_has_no_gradient():
    embeddings, ignore = _embeddings(), torch.zeros(6, 6, dtype=bool)
    loss = contrastive("infonce_fixed", {("fmri", "video"): 1.0}, 0.005)
    assert not list(loss.parameters())
    torch.testing.assert_close(
        loss(embeddings, ignore)[0], _reference(embeddings["fmri"], embeddings["video"], 0.005)
    )
    assert loss.temperature == pytest.approx(0.005)


def test_the_sigmoid_loss_equals_a_plain_loop_over_pairs():
    embeddings = _embeddings()
    ignore = torch.zeros(6, 6, dtype=bool)
    ignore[0, 1] = ignore[1, 0] = ignore[4, 2] = ignore[2, 4] = True
    weights = {("fmri", "video"): 3.0, ("video", "audio"): 1.0}
    loss, parts = contrastive("siglip", weights, None)(embeddings, ignore)
    for one, other in weights:
        total = 0.0
        for i in range(6):
            for j in range(6):
                logit = 10 * float(embeddings[one][i] @ embeddings[other][j]) - 10
                if i == j:
                    total += math.log1p(math.exp(-logit))
                elif not ignore[i, j]:
                    total += math.log1p(math.exp(logit))
        assert parts[f"{one}-{other}"].item() == pytest.approx(total / 6, rel=1e-5)
    torch.testing.assert_close(loss, 0.75 * parts["fmri-video"] + 0.25 * parts["video-audio"])


def test_the_sigmoid_loss_learns_its_scale_and_bias():
    embeddings, ignore = _embeddings(), torch.zeros(6, 6, dtype=bool)
    loss = contrastive("siglip", {("fmri", "video"): 1.0}, 0.2)
    assert loss.temperature == pytest.approx(0.2)
    loss(embeddings, ignore)[0].backward()
    assert {name for name, p in loss.named_parameters() if p.grad.abs() > 0} == {"log_scale", "bias"}


@pytest.mark.parametrize("kind", ["infonce", "infonce_fixed", "siglip"])
def test_false_negatives_have_no_part_in_any_loss(kind):
    """What an ignored pair's similarity is must not matter."""
    similarity, ignore = torch.randn(5, 5), torch.zeros(5, 5, dtype=bool)
    ignore[0, 3] = ignore[3, 0] = True
    loss, other = contrastive(kind, {("fmri", "video"): 1.0}, None), similarity.clone()
    other[ignore] = 7.0
    assert torch.equal(loss.pair(similarity, ignore), loss.pair(other, ignore))
