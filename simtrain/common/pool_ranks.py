"""The rank of the true candidate in pools that are drawn at random, from its rank among all candidates.

How many of those that are ahead of it get into a pool is hypergeometric, so what is expected over all pools
that could be drawn is exact, and nothing has to be drawn.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import gammaln


@lru_cache(maxsize=256)
def rank_probabilities(candidates: int, pool: int) -> np.ndarray:
    """(candidates, pool) float64: the probability of each rank in a pool, for each rank among all.

    Rows and columns are ranks from 1 on. The true candidate is in every pool; the others of a pool are drawn
    without replacement.

    Parameters
    ----------
    candidates, pool : the true one included; a pool is no larger than there are candidates

    Examples
    --------
    >>> rank_probabilities(4, 2)  # the other of the pool is one of three
    array([[1.        , 0.        ],
           [0.66666667, 0.33333333],
           [0.33333333, 0.66666667],
           [0.        , 1.        ]])
    """
    if pool == candidates:
        return np.eye(pool)
    ahead, drawn = np.arange(candidates)[:, None], np.arange(pool)
    ways = _log_choose(ahead, drawn) + _log_choose(candidates - 1 - ahead, pool - 1 - drawn)
    return np.exp(ways - _log_choose(np.array(candidates - 1), np.array(pool - 1)))


def _log_choose(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Logarithm of n over k; minus infinity if there is no way."""
    left = np.maximum(n - k, 0)
    return np.where(n < k, -np.inf, gammaln(n + 1) - gammaln(k + 1) - gammaln(left + 1))
