from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simtrain.data.order import Cursor, epoch_order, shuffled_batches


@given(st.integers(2, 60), st.integers(1, 20), st.integers(0, 2**40), st.integers(0, 30))
def test_going_on_from_a_cursor_gives_the_same_batches(count, size, seed, done):
    size = min(size, count)
    straight = list(islice(shuffled_batches(np.arange(count), size, seed, Cursor()), done + 5))
    cursor = straight[done - 1][1] if done else Cursor()
    resumed = list(islice(shuffled_batches(np.arange(count), size, seed, cursor), 5))
    for (one, after_one), (other, after_other) in zip(straight[done:], resumed, strict=True):
        assert np.array_equal(one, other)
        assert after_one == after_other


@given(st.integers(2, 60), st.integers(1, 20), st.integers(0, 2**40))
def test_an_epoch_has_no_sample_twice_and_leaves_out_less_than_a_batch(count, size, seed):
    size = min(size, count)
    epoch = [
        batch for batch, _ in islice(shuffled_batches(np.arange(count), size, seed, Cursor()), count // size)
    ]
    seen = np.concatenate(epoch)
    assert len(np.unique(seen)) == len(seen) > count - size


def test_epochs_and_seeds_differ_and_the_order_is_fixed_for_good():
    assert epoch_order(8, seed=0, epoch=0).tolist() == [5, 0, 6, 1, 7, 2, 4, 3]
    assert not np.array_equal(epoch_order(100, 0, 0), epoch_order(100, 0, 1))
    assert not np.array_equal(epoch_order(100, 0, 1), epoch_order(100, 1, 0))
