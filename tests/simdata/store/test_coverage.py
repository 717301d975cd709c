"""The rule of what the runs of a store share, against one in plain numpy, in any order."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simdata.store.coverage import as_bits, settle

VERTICES = 2000


def masks(*lacking):
    """Of each run, where it has data: all but ``lacking`` of L."""
    inside = {}
    for run, gone in enumerate(lacking):
        inside[run, 0] = np.ones((2, VERTICES), bool)
        inside[run, 0][0, gone] = False
    return inside


def settled(inside):
    return settle({run: as_bits(mask) for run, mask in inside.items()}, VERTICES)


def test_a_partial_run_does_not_narrow_the_cortex():
    found = settled(masks([], [], range(100, 2000)))
    assert found.cortex.all()
    assert found.partial == {(2, 0): (0.05, 1.0)}
    assert found.narrowing == {}
    assert list(found.in_words(["1", "2", "3"], ["A"])) == ["3/A"]


def test_a_run_that_lacks_little_narrows_it_and_is_named():
    found = settled(masks([], range(3, 10), []))
    assert found.cortex.sum() == 2 * VERTICES - 7
    assert (found.partial, found.narrowing) == ({}, {(1, 0): 7})
    assert settled(masks([], [5], [])).narrowing == {}


def test_one_run_is_its_own_reference():
    found = settled(masks(range(500)))
    assert found.cortex.sum() == 2 * VERTICES - 500
    assert (found.partial, found.narrowing) == ({}, {})


def test_without_a_whole_run_the_cortex_is_the_reference():
    found = settled(masks(range(500), range(500, 1000)))
    assert found.cortex.all()
    assert len(found.partial) == 2


@settings(max_examples=30)
@given(seed=st.integers(0, 999), runs=st.integers(1, 9))
def test_equals_the_rule_in_numpy_in_any_order(seed, runs):
    rng = np.random.default_rng(seed)
    lost = rng.choice([0, 0.001, 0.009, 0.02, 0.5], runs)
    table = np.stack([rng.random((2, VERTICES)) >= share for share in lost])
    reference = table.mean(axis=0) >= 0.5
    lacks = (reference & ~table).sum(axis=2) / reference.sum(axis=1)
    whole = (lacks <= 0.01).all(axis=1)
    expected = reference & table[whole].all(axis=0)
    for order in (range(runs), rng.permutation(runs).tolist()):
        found = settled({(run, 0): table[run] for run in order})
        np.testing.assert_array_equal(found.cortex, expected)
        assert set(found.partial) == {(int(run), 0) for run in np.flatnonzero(~whole)}


def test_a_selection_of_hemispheres_has_the_words_of_its_own():
    inside = {run: as_bits(mask[[0]]) for run, mask in masks([], [], range(100, 2000)).items()}
    found = settle(inside, VERTICES)
    assert found.cortex.shape == (1, VERTICES)
    assert found.in_words(["1", "2", "3"], ["A"], ["R"]) == {
        "3/A": "has data in 5.0% of R, and does not narrow the store's cortex"
    }
