"""The retrieval test of SIM (Dahan et al., ICLR 2025): find the clip that was seen among a pool.

fMRI looks for the stimulus (a window's BOLD against the clips of the pool) and the stimulus for fMRI (the
clip against the BOLD of the pool). Windows and pools are drawn (`Drawn`), or every window is tested against
all of its candidates at once, from which what is expected over pools follows (`Exact`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from simtrain.retrieval.metrics import RetrievalMetric
from simtrain.retrieval.pools import Contest, all_pools, draw_pools
from simtrain.retrieval.protocol import EXACT, Protocol
from simtrain.retrieval.scores import ROUNDING, RankTally, Score

Metrics = Mapping[str, RetrievalMetric]
TOGETHER = 100  # tested windows whose ranks at all shifts are held


@dataclass(frozen=True)
class EmbeddedWindows:
    """Embeddings of unit length.

    Attributes
    ----------
    fmri : (units, windows, dim): of each unit of a window, which stands against the same of others
    stimulus : (rows, dim)
    row : (windows,) stimulus row of each window
    """

    fmri: np.ndarray
    stimulus: np.ndarray
    row: np.ndarray

    @classmethod
    def joined(cls, parts: Mapping[str, EmbeddedWindows], weights: Mapping[str, float]) -> EmbeddedWindows:
        """Those whose products are the weighted sums of the parts' products: no longer of unit length."""
        stimulus = [np.float32(weight) * parts[name].stimulus for name, weight in weights.items()]
        fmri = [parts[name].fmri for name in weights]
        row = next(iter(parts.values())).row
        return cls(np.concatenate(fmri, axis=-1), np.concatenate(stimulus, axis=-1), row)


@dataclass(frozen=True)
class Drawn:
    """Pools that were drawn: for each draw and each tested window (pool,) positions, the true one first."""

    pools: Sequence[Sequence[np.ndarray]]

    @property
    def tested(self) -> np.ndarray:
        """(draws, tested) positions of windows."""
        return np.array([[pool[0] for pool in draw] for draw in self.pools])

    @property
    def used(self) -> np.ndarray:
        """Positions of the windows that are in a pool, sorted."""
        return np.unique(np.concatenate([pool for draw in self.pools for pool in draw]))

    def among(self, used: np.ndarray) -> Drawn:
        """The same, with positions among sorted ones."""
        return Drawn([[np.searchsorted(used, pool) for pool in draw] for draw in self.pools])

    def scores(self, of: EmbeddedWindows, shifts: np.ndarray, metrics: Metrics) -> tuple[Score, Score]:
        """Score retrieval from fMRI to the stimulus, and back.

        Goes through the tested windows one by one, each at all shifts: so pools may differ in size, and the
        memory is that of one pool times the shifts.

        Parameters
        ----------
        shifts : (1 + n, rows), the first of which leaves every row in its place
        metrics : by their names
        """
        there, back = RankTally(len(shifts), metrics), RankTally(len(shifts), metrics)
        for draw, unit in product(self.pools, of.fmri):
            for first in range(0, len(draw), TOGETHER):
                pools = draw[first : first + TOGETHER]
                found = [_ranks_in_pool(of, unit, pool, shifts) for pool in pools]
                sizes = np.array(list(map(len, pools)))
                for tally, rank in zip((there, back), np.stack(found, axis=-1), strict=True):
                    tally.add(rank, sizes, sizes)
        return there.score(len(self.pools)), back.score(len(self.pools))


@dataclass(frozen=True)
class Exact:
    """Every window once, against all of its candidates."""

    contests: Sequence[Contest]

    @property
    def tested(self) -> np.ndarray:
        """(1, tested) positions of windows."""
        return np.concatenate([one.windows[one.tested] for one in self.contests])[None]

    @property
    def used(self) -> np.ndarray:
        """Positions of the windows that take part, sorted."""
        return np.unique(np.concatenate([one.windows for one in self.contests]))

    def among(self, used: np.ndarray) -> Exact:
        """The same, with positions among sorted ones."""
        return Exact([replace(one, windows=np.searchsorted(used, one.windows)) for one in self.contests])

    def scores(self, of: EmbeddedWindows, shifts: np.ndarray, metrics: Metrics) -> tuple[Score, Score]:
        """As `Drawn.scores`."""
        there, back = RankTally(len(shifts), metrics), RankTally(len(shifts), metrics)
        for unit, one in product(of.fmri, self.contests):
            row = of.row[one.windows]
            similarity = of.stimulus @ unit[one.windows].T
            # A movie's shifts are fewer than those of all movies together.
            distinct, shift = np.unique(shifts[:, row], axis=0, return_inverse=True)
            found = np.stack([_ranks_both_ways(similarity[rows], one) for rows in distinct], axis=1)
            candidates = 1 + one.against.sum(axis=1)
            for tally, rank in zip((there, back), found, strict=True):
                tally.add(rank[shift.ravel()], candidates, one.pool)
        return there.score(1), back.score(1)


Trials = Drawn | Exact


def trials_of(
    rng: np.random.Generator,
    windows: np.ndarray,
    film_clip: np.ndarray,
    protocol: Protocol,
    apart: int,
    name: str,
) -> Trials:
    """What is tested by a protocol; the parameters are those of `simtrain.retrieval.pools.draw_pools`."""
    told = windows, film_clip, protocol, apart, name
    if protocol.draws == EXACT:
        return Exact(all_pools(*told))
    return Drawn([draw_pools(rng, *told) for _ in range(int(protocol.draws))])


def ranks(similarity: np.ndarray) -> np.ndarray:
    """Rank (1 is best) of the first candidate on the last axis, by cosine similarity.

    Against it count ties, also those that only rounding breaks, and what compares with nothing, as NaN does.
    """
    return 1 + (~(similarity[..., 1:] < similarity[..., :1] - ROUNDING)).sum(axis=-1)


def _ranks_in_pool(of: EmbeddedWindows, unit: np.ndarray, pool: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """(2, shifts) ranks of the stimulus and of fMRI, of one tested window."""
    row, of_true = of.row[pool], of.stimulus @ unit[pool[0]]
    # Shifts give the tested window few different clips: each is compared with the pool once.
    clips, shift = np.unique(shifts[:, row[0]], return_inverse=True)
    back = ranks(of.stimulus[clips] @ unit[pool].T)[shift]
    return np.stack([ranks(of_true[shifts[:, row]]), back])


def _ranks_both_ways(similarity: np.ndarray, one: Contest) -> np.ndarray:
    """(2, tested) ranks among all candidates, of the stimulus and of fMRI, counted as `ranks` does.

    Parameters
    ----------
    similarity : (n, n) of the stimulus of each window, as it is shifted, with the BOLD of each
    """
    true = similarity[one.tested, one.tested] - ROUNDING
    there = ~(similarity[:, one.tested] < true) & one.against.T
    back = ~(similarity[one.tested] < true[:, None]) & one.against
    return 1 + np.stack([there.sum(axis=0), back.sum(axis=1)])
