"""How often each sample has its turn in an epoch, so that subjects, film clips, or both count alike.

Without it all samples do: a subject with four runs counts twice as much as one with two, and a clip of four
minutes four times as much as one of a minute.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ROUNDS = 1000  # of scaling rows and columns to their sums, at most
CLOSE = 1e-9  # relative, at which the sums are right


class Balance(NamedTuple):
    """What an epoch draws.

    Attributes
    ----------
    cell : (n,) int, which subject and film clip each sample is of
    turns : (n,) float64, how often it is expected in an epoch; n in all
    """

    cell: np.ndarray
    turns: np.ndarray

    @classmethod
    def of(cls, samples: np.ndarray, segment: np.ndarray, over: str) -> Balance | None:
        """Of ``samples`` (SAMPLE) by ``train.balance``; None where all have a turn each.

        With ``subjects+clips``, the shares of subjects and clips are scaled by turns until both are even
        (iterative proportional fitting: Deming and Stephan 1940), or as near to it as runs that are missing
        allow.

        Parameters
        ----------
        segment : (movies, seconds), the store's
        """
        if over == "none":
            return None
        films = np.stack([samples["movie"], segment[samples["movie"], samples["clip"]]], axis=1)
        subjects, subject = np.unique(samples["subject"], return_inverse=True)
        clips, clip = np.unique(films, axis=0, return_inverse=True)
        shape = len(subjects), len(clips)
        cell = subject * len(clips) + clip.reshape(-1)
        counts = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
        shares = _even(counts / len(samples), "subjects" in over, "clips" in over)
        return cls(cell, len(samples) * (shares / np.maximum(counts, 1)).reshape(-1)[cell])

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """(n,) int64: places of the samples that an epoch draws, a function of the arguments alone.

        A sample comes as often as its turns, rounded up or down at random, and so does every subject, clip
        and pair of them, up to 1.
        """
        # Jumped twice: the draws must be others than those of the order and of the jitter, of the same key.
        rng = np.random.Generator(np.random.Philox(key=[seed, epoch]).jumped(2))
        mixed = rng.permutation(len(self.cell))
        by_cell = mixed[np.argsort(self.cell[mixed], kind="stable")]
        reached = np.cumsum(self.turns[by_cell])
        reached[-1] = len(reached)
        last = np.floor(reached + rng.random()).astype(np.int64)
        copies = last - np.concatenate([[0], last[:-1]])
        return rng.permutation(np.repeat(by_cell, copies))


def _even(shares: np.ndarray, over_rows: bool, over_columns: bool) -> np.ndarray:
    """Shares (rows, columns), which are scaled until rows, columns or both have even sums."""
    for _ in range(ROUNDS):
        before = shares
        if over_columns:
            shares = shares / shares.sum(axis=0, keepdims=True) / shares.shape[1]
        if over_rows:
            shares = shares / shares.sum(axis=1, keepdims=True) / shares.shape[0]
        if np.abs(shares - before).sum() <= CLOSE:
            break
    return shares
