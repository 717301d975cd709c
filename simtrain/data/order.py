"""The order of samples: a pure function of seed and position, so that a run resumes exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from simtrain.data.balance import Balance
from simtrain.data.lag_jitter import jittered


class Cursor(NamedTuple):
    """A place in the sequence of batches."""

    epoch: int = 0
    batch: int = 0


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """(count,) int64: a permutation that depends on nothing but the arguments."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(count)


def shuffled_batches(
    samples: np.ndarray,
    size: int,
    seed: int,
    cursor: Cursor,
    jitter: int = 0,
    balance: Balance | None = None,
) -> Iterator[tuple[np.ndarray, Cursor]]:
    """Endless batches without replacement within an epoch, unless there is a ``balance``, from ``cursor`` on.

    All have ``size`` samples, since the loss depends on their number; the few that remain at the end of an
    epoch are left out, others in every epoch. Up to ``jitter`` s are added to or taken from their lag.

    Yields
    ------
    batch : (size,) of ``samples``
    cursor : the place behind this batch
    """
    whole = len(samples) // size
    epoch, start = cursor
    while True:
        order = epoch_order(len(samples), seed, epoch) if balance is None else balance.order(seed, epoch)
        moved = jittered(samples, jitter, seed, epoch)
        for batch in range(start, whole):
            yield moved[order[batch * size : (batch + 1) * size]], Cursor(epoch, batch + 1)
        epoch, start = epoch + 1, 0
