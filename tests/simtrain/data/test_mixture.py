"""Which store batches are of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_runs import TINY

from simdata.common.errors import UserError
from simtrain.config.composition import load
from simtrain.data.agreement import resolve_on_all
from simtrain.data.collection import by_store, joined
from simtrain.data.dataset import open_dataset
from simtrain.data.mixture import ROUND, must_be_weights, shares_of, stores_of_round, training_batches
from simtrain.data.order import Cursor
from simtrain.data.windows import Windows, by_hemisphere, training

FIRST = Cursor()
WEIGHTS = st.lists(st.floats(0.01, 100), min_size=2, max_size=5)


@pytest.fixture(scope="module")
def both(store, other_store):
    return joined([open_dataset(store), open_dataset(other_store)])


@pytest.fixture(scope="module")
def samples(both):
    config = resolve_on_all(load("demo", TINY), both)
    return by_hemisphere(training(Windows.of(both, config).find()))


def _stores(both, samples, weights, count, cursor=FIRST, seed=0):
    """Of so many batches: which store each is of, the batch, and the place behind it."""
    train = load("demo", [*TINY, f"train.seed={seed}"]).train
    shares = shares_of(samples, both, weights)
    drawn = training_batches(samples, both, shares, train, cursor, 0)
    first = len(both.parts[0].subjects)
    found = [next(drawn) for _ in range(count)]
    assert all(len(np.unique(batch["subject"] >= first)) == 1 for batch, _ in found), (
        "a batch is of one store"
    )
    return [int(batch["subject"][0] >= first) for batch, _ in found], found


def test_weights_are_held_over_200_draws(both, samples):
    of, _ = _stores(both, samples, [3, 1], 200)
    assert abs(sum(of) - 50) <= 2
    assert of != sorted(of)
    assert of != _stores(both, samples, [3, 1], 200, seed=1)[0]


def test_by_default_they_are_in_proportion_to_training_samples(both, samples):
    own = [len(part) for part in by_store(samples, both)]
    assert min(own) > 100
    assert shares_of(samples, both, None).tolist() == pytest.approx([one / sum(own) for one in own])


@settings(deadline=None, max_examples=50)
@given(WEIGHTS, st.integers(0, 2**31), st.integers(0, 1000))
def test_a_round_has_each_store_as_often_as_its_weight_says_to_one(weights, seed, number):
    shares = np.array(weights) / sum(weights)
    of = stores_of_round(shares, seed, number)
    assert len(of) == ROUND
    assert (np.abs(np.bincount(of, minlength=len(shares)) - ROUND * shares) < 1 + 1e-9).all()
    assert np.array_equal(of, stores_of_round(shares, seed, number))


@pytest.mark.parametrize("place", [0, 1, 57, ROUND, ROUND + 1, 2 * ROUND - 1])
def test_batches_go_on_from_any_place(both, samples, place):
    _, whole = _stores(both, samples, [2, 1], 2 * ROUND + 5)
    cursor = whole[place - 1][1] if place else Cursor()
    _, rest = _stores(both, samples, [2, 1], 6, cursor)
    for (batch, behind), (wanted, there) in zip(rest, whole[place:], strict=False):
        assert np.array_equal(batch, wanted)
        assert behind == there


def test_each_store_goes_through_its_own_epochs(both, samples):
    of, found = _stores(both, samples, [1, 1], 200)
    own = by_store(samples, both)[1]
    epoch = len(own) // 8
    batches = [batch for (batch, _), store in zip(found, of, strict=True) if store == 1]
    seen = np.concatenate(batches[:epoch])
    assert len(np.unique(seen)) == len(seen) == epoch * 8
    assert np.isin(seen, own).all()


@pytest.mark.parametrize(
    ("weights", "fault"),
    [([1], "2 stores; give"), ([1, 1, 1], "2 stores; give"), ([1, 0], "above 0"), ([1, np.nan], "above 0")],
)
def test_weights_that_are_not_one_for_each_store_are_refused(both, weights, fault):
    with pytest.raises(UserError, match=f"`weights` .*{fault}"):
        must_be_weights(weights, both)
    with pytest.raises(UserError, match="there is one store"):
        must_be_weights(weights, both.parts[0])
