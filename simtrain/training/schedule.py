"""The learning rate of each update: a function of its number and the settings alone."""

from __future__ import annotations

import math

from simtrain.common.counts import share_up
from simtrain.config.schema import TrainConfig


def learning_rate(train: TrainConfig, update: int) -> float:
    """The rate of an update, counted from 1 to ``train.steps``.

    A straight rise to ``train.learning_rate``, which the last update of the warm-up has. Then half a cosine
    down to 0, which the last update of all has, the same rate for all, or a fall by ``train.step_factor``
    every ``train.step_every`` updates. torch's `LinearLR`, and `CosineAnnealingLR`, `ConstantLR` or `StepLR`
    behind it give the same.
    """
    rising = warmup_updates(train)
    if update <= rising:
        return train.learning_rate * update / rising
    if train.schedule == "constant":
        return train.learning_rate
    if train.schedule == "step":
        return train.learning_rate * train.step_factor ** ((update - rising) // train.step_every)
    return train.learning_rate * (1 + math.cos(math.pi * (update - rising) / (train.steps - rising))) / 2


def warmup_updates(train: TrainConfig) -> int:
    """Updates until the rate is at its highest: ``train.warmup`` of all, rounded up, one at least.

    There is one more at least, for the end, unless there is but one.
    """
    return min(max(share_up(train.warmup, train.steps), 1), max(train.steps - 1, 1))
