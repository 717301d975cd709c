"""Balanced epochs, beside counts of who had how many turns."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simtrain.data.balance import Balance
from simtrain.data.order import Cursor, shuffled_batches
from simtrain.data.windows import SAMPLE

SEGMENT = np.repeat([[1, 2, 3], [4, 5, 6]], 100, axis=1)  # clips of 100 s in two movies


def drawn_samples(sizes):
    """As many samples as are asked for of each (subject, movie, clip of it)."""
    parts = []
    for (subject, movie, clip), count in sizes.items():
        part = np.zeros(count, SAMPLE)
        part["subject"], part["movie"], part["clip"] = subject, movie, 100 * clip + np.arange(count) % 100
        parts.append(part)
    return np.concatenate(parts)


def turns_of(samples, balance, epochs=1):
    """(n,) how often each sample is drawn in some epochs."""
    orders = [balance.order(0, epoch) for epoch in range(epochs)]
    assert all(len(order) == len(samples) for order in orders)
    return np.bincount(np.concatenate(orders), minlength=len(samples))


def groups(samples):
    clip = SEGMENT[samples["movie"], samples["clip"]]
    return {"subjects": samples["subject"], "clips": clip}


cells = st.dictionaries(
    st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 2)), st.integers(1, 30), min_size=1
)


@settings(max_examples=60)
@given(cells, st.sampled_from(["subjects", "clips"]), st.integers(0, 5))
def test_each_subject_or_clip_has_its_share_of_every_epoch(sizes, over, epoch):
    samples = drawn_samples(sizes)
    order = Balance.of(samples, SEGMENT, over).order(3, epoch)
    names, counts = np.unique(groups(samples)[over][order], return_counts=True)
    even = len(samples) / len(np.unique(groups(samples)[over]))
    cells_of_one = 1 if over == "subjects" else 4  # a cell is rounded, and a clip has one of each subject
    assert np.abs(counts - even).max() <= cells_of_one
    assert len(names) == len(np.unique(groups(samples)[over])) or even <= cells_of_one


@settings(max_examples=30)
@given(cells, st.sampled_from(["subjects", "clips", "subjects+clips"]))
def test_samples_of_one_subject_and_clip_have_the_same_turns_in_the_long_run(sizes, over):
    samples = drawn_samples(sizes)
    balance = Balance.of(samples, SEGMENT, over)
    assert balance.turns.sum() == pytest.approx(len(samples))
    often = turns_of(samples, balance, epochs=200) / 200
    assert np.abs(often - balance.turns).max() < 0.2
    once = turns_of(samples, balance)
    assert np.abs(once - balance.turns).max() < 1 + 1e-9


def test_subjects_and_clips_are_even_together_where_runs_are_missing():
    sizes = {(s, m, c): 20 + 10 * c + 5 * s for s in range(4) for m in range(2) for c in range(3)}
    del sizes[0, 1, 0], sizes[0, 1, 1], sizes[0, 1, 2]  # a run
    del sizes[2, 0, 1]
    samples = drawn_samples(sizes)
    often = turns_of(samples, Balance.of(samples, SEGMENT, "subjects+clips"))
    for of_group in groups(samples).values():
        counts = np.bincount(of_group, often)[np.unique(of_group)]
        assert counts.max() - counts.min() <= 4, counts
    plain = {name: np.bincount(of)[np.unique(of)] for name, of in groups(samples).items()}
    assert all(counts.max() - counts.min() > 40 for counts in plain.values())


def test_none_is_none_and_without_it_batches_are_what_they_were():
    samples = drawn_samples({(0, 0, 0): 30, (1, 1, 2): 20})
    assert Balance.of(samples, SEGMENT, "none") is None
    plain = islice(shuffled_batches(samples, 8, 0, Cursor()), 9)
    given_none = islice(shuffled_batches(samples, 8, 0, Cursor(), 0, None), 9)
    for (one, _), (other, _) in zip(plain, given_none, strict=True):
        assert np.array_equal(one, other)


def test_balanced_batches_go_on_from_a_cursor():
    samples = drawn_samples({(0, 0, 0): 30, (1, 1, 2): 7})
    balance = Balance.of(samples, SEGMENT, "subjects+clips")
    straight = list(islice(shuffled_batches(samples, 8, 4, Cursor(), 1, balance), 12))
    resumed = islice(shuffled_batches(samples, 8, 4, straight[4][1], 1, balance), 7)
    for (one, after), (other, behind) in zip(straight[5:], resumed, strict=True):
        assert np.array_equal(one, other)
        assert after == behind
    first = np.concatenate([batch for batch, _ in straight[:4]])
    assert abs((first["subject"] == 0).sum() - (first["subject"] == 1).sum()) <= 8
