import doctest
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from simtrain.common import pool_ranks
from simtrain.common.pool_ranks import rank_probabilities

SIZES = st.integers(2, 60).flatmap(
    lambda candidates: st.tuples(st.just(candidates), st.integers(1, candidates))
)


@pytest.mark.parametrize(("candidates", "pool"), [(5, 2), (900, 32), (880, 880), (40, 39), (3000, 64)])
def test_it_is_scipys_hypergeometric(candidates, pool):
    found = rank_probabilities(candidates, pool)
    ahead, drawn = np.arange(candidates)[:, None], np.arange(pool)
    np.testing.assert_allclose(found, hypergeom.pmf(drawn, candidates - 1, ahead, pool - 1), atol=1e-11)


@pytest.mark.parametrize("pool", range(1, 7))
def test_it_is_the_share_of_all_pools(pool):
    for rank, found in enumerate(rank_probabilities(6, pool), 1):
        others = [one for one in range(1, 7) if one != rank]
        ranks = [1 + sum(one < rank for one in drawn) for drawn in combinations(others, pool - 1)]
        np.testing.assert_allclose(found, np.bincount(ranks, minlength=pool + 1)[1:] / len(ranks), atol=1e-12)


@given(SIZES)
def test_ranks_are_spread_evenly_if_those_among_all_are(sizes):
    """And each is found at most at its own place, on average in proportion to the pool."""
    candidates, pool = sizes
    found = rank_probabilities(candidates, pool)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(found.mean(axis=0), 1 / pool, atol=1e-9)
    assert not np.triu(found, 1).any()
    mean = found @ np.arange(pool)
    np.testing.assert_allclose(mean, np.arange(candidates) * (pool - 1) / (candidates - 1), atol=1e-8)


def test_the_example_in_the_docstring_is_right():
    assert doctest.testmod(pool_ranks).failed == 0
