"""Which store each batch is of, and the batches of several stores as one stream.

Every batch is of one store, so that its samples are compared with those of the same data set alone. Stores
come by weights: in each round of 100 batches as often as their weights say, rounded up or down at random, and
in random order. The store of a batch is a function of the seed and of the batch's number alone, and each
store goes through its own epochs (`simtrain.data.order`), so that a run goes on exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from simdata.common.errors import UserError
from simtrain.config.training_sections import TrainConfig
from simtrain.data.balance import Balance
from simtrain.data.collection import Collection, by_store, parts_of
from simtrain.data.dataset import Dataset
from simtrain.data.order import Cursor, shuffled_batches

ROUND = 100  # batches


def shares_of(samples: np.ndarray, dataset: Dataset, weights: Sequence[float] | None) -> np.ndarray:
    """(stores,) float64 of sum 1: the share of the batches that each store has.

    Parameters
    ----------
    samples : (n,) SAMPLE to train on
    weights : of the stores; None: as many as they have samples
    """
    given = [len(own) for own in by_store(samples, dataset)] if weights is None else weights
    return np.asarray(given, np.float64) / np.sum(given)


def must_be_weights(weights: Sequence[float] | None, dataset: Dataset) -> None:
    """Refuse weights that are not one for each of several stores.

    Raises
    ------
    UserError
        If they are for one store, not as many as there are stores, or one is not above 0 and finite.
    """
    if weights is None:
        return
    stores = len(parts_of(dataset))
    listed = ", ".join(f"{one:g}" for one in weights)
    if stores == 1:
        raise UserError(f"`weights` {listed}: there is one store, and nothing to weigh; leave them out")
    if len(weights) != stores:
        raise UserError(f"`weights` {listed}: there are {stores} stores; give a weight for each")
    if not all(0 < weight < np.inf for weight in weights):
        raise UserError(f"`weights` {listed}: each must be above 0, and finite")


def told_shares(
    samples: np.ndarray, held_out: np.ndarray, dataset: Dataset, shares: np.ndarray
) -> Iterator[str]:
    """A line for each of several stores: its share of the batches, and its samples."""
    if isinstance(dataset, Collection):
        own, other = by_store(samples, dataset), by_store(held_out, dataset)
        for name, share, trained, validated in zip(dataset.names, shares, own, other, strict=True):
            counts = f"{len(trained):,} training samples, {len(validated):,} of validation"
            yield f"{name}: {share:.1%} of the batches; {counts}"


def stores_of_round(shares: np.ndarray, seed: int, number: int) -> np.ndarray:
    """(ROUND,) int: which store each batch of a round is of, a function of the arguments alone."""
    # Jumped thrice: the draws must be others than those of order, jitter and balance, of the same key.
    rng = np.random.Generator(np.random.Philox(key=[seed, number]).jumped(3))
    reached = np.floor(np.cumsum(shares) * ROUND + rng.random()).astype(np.int64)
    reached[-1] = ROUND
    counts = np.diff(reached.clip(max=ROUND), prepend=0)
    return rng.permutation(np.repeat(np.arange(len(shares)), counts))


def training_batches(
    samples: np.ndarray, dataset: Dataset, shares: np.ndarray, train: TrainConfig, cursor: Cursor, jitter: int
) -> Iterator[tuple[np.ndarray, Cursor]]:
    """Endless batches from ``cursor`` on: of one store as `shuffled_batches`, of several by turns.

    Parameters
    ----------
    samples : (n,) SAMPLE
    shares : (stores,) as `shares_of` gives
    jitter : s by which the lag of a sample may vary

    Yields
    ------
    batch : (train.batch_size,) SAMPLE of one store
    cursor : the place behind this batch; with several stores, round and number in it
    """
    streams = [_Stream(own, dataset.segment, train, jitter) for own in by_store(samples, dataset)]
    if len(streams) == 1:
        return streams[0].batches(cursor)
    return _by_turns(streams, shares, train.seed, cursor)


class _Stream:
    """The samples of a store, and their batches."""

    def __init__(self, samples: np.ndarray, segment: np.ndarray, train: TrainConfig, jitter: int) -> None:
        self._samples, self._train, self._jitter = samples, train, jitter
        self._balance = Balance.of(samples, segment, train.balance)

    def batches(self, cursor: Cursor) -> Iterator[tuple[np.ndarray, Cursor]]:
        train = self._train
        return shuffled_batches(
            self._samples, train.batch_size, train.seed, cursor, self._jitter, self._balance
        )

    def behind(self, drawn: int) -> Iterator[tuple[np.ndarray, Cursor]]:
        """Its batches, but for the first ones that were ``drawn``."""
        return self.batches(Cursor(*divmod(drawn, len(self._samples) // self._train.batch_size)))


def _by_turns(
    streams: Sequence[_Stream], shares: np.ndarray, seed: int, cursor: Cursor
) -> Iterator[tuple[np.ndarray, Cursor]]:
    number, start = cursor
    before = [stores_of_round(shares, seed, earlier) for earlier in range(number)]
    turns = stores_of_round(shares, seed, number)
    drawn = np.bincount(np.concatenate([*before, turns[:start]]), minlength=len(streams))
    running = [stream.behind(count) for stream, count in zip(streams, drawn.tolist(), strict=True)]
    while True:
        for place in range(start, ROUND):
            batch, _ = next(running[turns[place]])
            yield batch, Cursor(number, place + 1)
        number, start = number + 1, 0
        turns = stores_of_round(shares, seed, number)
