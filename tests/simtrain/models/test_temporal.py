"""The transformer over time, beside plain loops over what is seen."""

import math

import pytest
import torch
from torch.nn import functional

from simtrain.models.temporal import ContextTransformer

PATCHES, BEFORE, FRAMES, AFTER, DIM, HEADS = 5, 4, 3, 2, 8, 2
SECONDS = BEFORE + FRAMES + AFTER


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = ContextTransformer(
        patches=PATCHES,
        before=BEFORE,
        frames=FRAMES,
        after=AFTER,
        dim=DIM,
        depth=2,
        heads=HEADS,
        dim_head=4,
        hidden=16,
        dropout=0.0,
    )
    for parameter in made.parameters():  # the last begins at 0
        torch.nn.init.normal_(parameter, std=0.5)
    return made.eval()


def _batch(size=6):
    generator = torch.Generator().manual_seed(1)
    window = torch.randn(size, DIM, generator=generator)
    courses = torch.randn(size, SECONDS, PATCHES, generator=generator)
    seen = torch.ones(size, SECONDS, dtype=torch.bool)
    for row in range(size):  # fewer and fewer before, then after
        seen[row, : min(row, BEFORE)] = False
    seen[-1, BEFORE + FRAMES :] = False
    return window, courses, seen


def _normalised(module, x):
    return functional.layer_norm(x, x.shape[-1:], module.weight, module.bias)


def _plain(model, window, courses, seen):
    """One sample, of what it sees alone: whatever is not seen is not there. No token attends to the first."""
    seconds = torch.arange(-BEFORE, FRAMES + AFTER)[seen]
    tokens = _normalised(model.embed[0], courses[seen]) @ model.embed[1].weight.T + model.embed[1].bias
    x, time = torch.cat([window[None], tokens]), torch.cat([torch.tensor([1]), seconds])  # of three frames
    for block in model.blocks:
        q, k, v = (_normalised(block.attention.norm, x) @ block.attention.qkv.weight.T).chunk(3, dim=1)
        heads = []
        for head, (one, other, value) in enumerate(
            zip(*(part.chunk(HEADS, dim=1) for part in (q, k, v)), strict=True)
        ):
            scores = torch.empty(len(x), len(x) - 1)
            for row in range(len(x)):
                for column in range(1, len(x)):
                    distance = int(time[column] - time[row]) + SECONDS - 1
                    scores[row, column - 1] = one[row] @ other[column] / 2 + model.bias[head, 0, distance]
            heads.append(scores.softmax(dim=1) @ value[1:])
        x = x + torch.cat(heads, dim=1) @ block.attention.out[0].weight.T + block.attention.out[0].bias
        norm, inner, _, _, outer, _ = block.mlp
        x = x + outer(functional.gelu(_normalised(norm, x) @ inner.weight.T + inner.bias))
    return _normalised(model.norm, x[0]) @ model.out.weight.T + model.out.bias


def test_it_is_a_plain_transformer_over_what_is_seen(model):
    window, courses, seen = _batch()
    expected = torch.stack([_plain(model, *sample) for sample in zip(window, courses, seen, strict=True)])
    torch.testing.assert_close(model(window, courses, seen), expected, rtol=1e-4, atol=1e-5)


def test_what_is_not_seen_changes_nothing(model):
    window, courses, seen = _batch()
    other = torch.where(seen[..., None], courses, 1e3)
    assert not torch.equal(courses, other)
    assert torch.equal(model(window, courses, seen), model(window, other, seen))


def test_how_much_is_seen_tells_nothing_by_itself(model):
    """Of seconds that are alike, fewer or more give the same: a mask alone says not where a window lies."""
    window, courses, seen = _batch()
    alike = courses[:1, :1].expand_as(courses)
    same = window[:1].expand_as(window)
    found = model(same, alike, seen)
    assert len(torch.unique(seen, dim=0)) > 3
    torch.testing.assert_close(found, found[:1].expand_as(found), rtol=1e-5, atol=1e-5)


def test_order_in_time_is_told(model):
    window, courses, seen = _batch()
    reversed_order = model(window[:1], courses[:1].flip(1), seen[:1])
    assert not torch.allclose(model(window[:1], courses[:1], seen[:1]), reversed_order, atol=1e-3)


def test_a_new_one_adds_nothing_and_learns():
    torch.manual_seed(0)
    sizes = {"dim": DIM, "depth": 1, "heads": HEADS, "dim_head": 4, "hidden": 16, "dropout": 0.0}
    model = ContextTransformer(patches=PATCHES, before=BEFORE, frames=FRAMES, after=AFTER, **sizes)
    window, courses, seen = _batch()
    assert not model(window, courses, seen).any()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    target = courses[:, 0, :1] * seen[:, :1]
    losses = []
    for _ in range(200):
        loss = functional.mse_loss(model(window, courses, seen)[:, :1], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10


def test_attention_first_falls_with_distance_at_another_rate_in_each_head():
    sizes = {"dim": DIM, "depth": 1, "heads": 4, "dim_head": 4, "hidden": 16, "dropout": 0.0}
    bias = ContextTransformer(patches=PATCHES, before=BEFORE, frames=FRAMES, after=AFTER, **sizes).bias[:, 0]
    for head, slope in enumerate((1 / 4, 1 / 16, 1 / 64, 1 / 256)):
        for place in range(2 * SECONDS - 1):
            assert math.isclose(bias[head, place].item(), -slope * abs(place - SECONDS + 1))
