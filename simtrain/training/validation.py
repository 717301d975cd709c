"""Validation during training: the scores of a fixed choice of samples that training does not see."""

from __future__ import annotations

import math
from collections import defaultdict

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
    """Fixed batches of chosen samples, so that all figures of a run compare."""

    def __init__(self, chosen: np.ndarray, feed: Feed, training: AnyTraining) -> None:
        self._size = min(training.config.batch_size, len(chosen))
        whole = len(chosen) // self._size * self._size
        # Each process takes whole batches, so that the figures do not depend on how many there are.
        batches = np.split(chosen[:whole], whole // self._size)
        self._batches = batches[processes.rank() :: processes.size()]
        self._feed, self._training = feed, training

    @torch.no_grad()
    def __call__(self) -> dict[str, float]:
        """The scores of training: means over batches, or over samples, of all processes.

        Raises
        ------
        Diverged
            If one is not finite, or a modality's embeddings are all the same: the same in all processes.
        """
        with self._training.tested():
            scores = distributed.gather_objects(self._scores())
        judge(scores, f"validation behind step {self._training.step}")
        totals: dict[str, list[float]] = defaultdict(list)
        for score in scores:
            for name, values in score.items():
                totals[name] += values
        means = {
            name: math.fsum(values) / len(values)
            for name, values in totals.items()
            if not name.startswith(SPREAD)
        }
        return {f"val/{name}": mean for name, mean in self._training.whole(means).items()}

    def _scores(self) -> list[Scores]:
        self._training.learner.eval()
        with self._feed.batches(((batch, None) for batch in self._batches), self._size) as batches:
            scores = [self._training.scores(batch) for batch in batches]
        return [listed(score) for score in scores]
