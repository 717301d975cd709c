"""Validation during training: the scores of a fixed choice of samples that training does not see.

Of several stores, each is validated by itself, with batches of its own; what is said of all together is the
mean over stores, weighted as they are in training.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from simtrain.common import distributed, processes
from simtrain.config.training_sections import TrainConfig
from simtrain.data.feeds import Feed
from simtrain.data.order import epoch_order
from simtrain.training.step import SPREAD, AnyTraining, Scores, judge, listed


def choose(samples: np.ndarray, train: TrainConfig) -> np.ndarray:
    """Those of the validation ``samples`` (SAMPLE) that validation looks at."""
    return samples[epoch_order(len(samples), train.seed, 0)][: train.validation_samples]


class Validation:
    """Fixed batches of chosen samples of one store, so that all figures of a run compare.

    Parameters
    ----------
    name : of the store, if there are several
    """

    def __init__(self, chosen: np.ndarray, feed: Feed, training: AnyTraining, name: str = "") -> None:
        self._size = min(training.config.batch_size, len(chosen))
        whole = len(chosen) // self._size * self._size
        # Each process takes whole batches, so that the figures do not depend on how many there are.
        batches = np.split(chosen[:whole], whole // self._size)
        self._batches = batches[processes.rank() :: processes.size()]
        self._feed, self._training, self.name = feed, training, name

    def __call__(self) -> dict[str, float]:
        """`scores`, named such as ``val/loss``."""
        return _named("val", self.scores())

    @torch.no_grad()
    def scores(self) -> dict[str, float]:
        """The scores of training: means over batches, or over samples, of all processes.

        Raises
        ------
        Diverged
            If one is not finite, or a modality's embeddings are all the same: the same in all processes.
        """
        with self._training.tested():
            scores = distributed.gather_objects(self._scores())
        of_store = f" on {self.name}" if self.name else ""
        judge(scores, f"validation{of_store} behind step {self._training.step}")
        totals: dict[str, list[float]] = defaultdict(list)
        for score in scores:
            for name, values in score.items():
                totals[name] += values
        means = {
            name: math.fsum(values) / len(values)
            for name, values in totals.items()
            if not name.startswith(SPREAD)
        }
        return self._training.whole(means)

    def _scores(self) -> list[Scores]:
        self._training.learner.eval()
        with self._feed.batches(((batch, None) for batch in self._batches), self._size) as batches:
            scores = [self._training.scores(batch) for batch in batches]
        return [listed(score) for score in scores]


class JointValidation:
    """Validation on several stores.

    Parameters
    ----------
    stores : those that have validation samples
    shares : of the batches of training that are of each of them
    """

    def __init__(self, stores: Sequence[Validation], shares: Sequence[float]) -> None:
        self._stores, self._shares = stores, shares

    def __call__(self) -> dict[str, float]:
        """The mean over stores of each score that they have, and those of each, such as ``val/NAME/loss``."""
        found = [store.scores() for store in self._stores]
        values = _named("val", _weighted(found, self._shares))
        for store, scores in zip(self._stores, found, strict=True):
            values |= _named(f"val/{store.name}", scores)
        return values


def _weighted(found: Sequence[Mapping[str, float]], shares: Sequence[float]) -> dict[str, float]:
    means = {}
    for name in dict.fromkeys(name for scores in found for name in scores):
        there = [(share, scores[name]) for share, scores in zip(shares, found, strict=True) if name in scores]
        means[name] = math.fsum(share * value for share, value in there) / math.fsum(
            part for part, _ in there
        )
    return means


def _named(group: str, scores: Mapping[str, float]) -> dict[str, float]:
    return {f"{group}/{name}": value for name, value in scores.items()}
