"""Validation during training: the scores of a fixed choice of samples that training does not see."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import torch

from simdata.store import BoldReader
from simtrain import distributed
from simtrain.sampler import epoch_order
from simtrain.stream import Stream
from simtrain.training import Training


class Validation:
    """A fixed choice of validation samples in fixed batches, so that all its figures compare."""

    def __init__(self, samples: np.ndarray, reader: BoldReader, training: Training, frames: int) -> None:
        train = training.config
        chosen = samples[epoch_order(len(samples), train.seed, 0)][: train.validation_samples]
        self._size = min(train.batch_size, len(chosen))
        whole = len(chosen) // self._size * self._size
        # Each process takes whole batches, so that the figures do not depend on how many there are.
        batches = np.split(chosen[:whole], whole // self._size)
        self._batches = batches[distributed.rank() :: distributed.size()]
        self._reader, self._training, self._frames = reader, training, frames

    @torch.no_grad()
    def __call__(self) -> dict[str, float]:
        """Mean over batches of the scores of training, all processes' batches."""
        with self._training.tested():
            scores = distributed.gather_objects(self._scores())
        totals: dict[str, list[float]] = defaultdict(list)
        for score in scores:
            for name, value in score.items():
                totals[f"val/{name}"].append(value)
        return {name: math.fsum(values) / len(values) for name, values in totals.items()}

    def _scores(self) -> list[dict[str, float]]:
        learner = self._training.learner.eval()
        batches = ((batch, None) for batch in self._batches)
        with Stream(
            self._reader, batches, size=self._size, frames=self._frames, device=learner.device
        ) as stream:
            scores = [self._training.scores(batch) for batch in stream]
        return [{name: float(value) for name, value in score.items()} for score in scores]
