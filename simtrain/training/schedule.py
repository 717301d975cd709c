"""The learning rate of each update: by its number and the settings, and by what validation said."""

from __future__ import annotations

import math
from typing import TypedDict

from simtrain.common.counts import share_up
from simtrain.config.training_sections import TrainConfig


class PlateauState(TypedDict):
    """What a checkpoint keeps of a `Plateau`."""

    best: float
    waited: int
    scale: float


class Plateau:
    """The learning rate falls where validation has ceased to improve.

    As torch's `ReduceLROnPlateau` with ``threshold=0, eps=0``: whatever is better counts as better. It has no
    effect with another ``train.schedule``.

    Attributes
    ----------
    scale : what the falls so far multiply the rate by
    """

    def __init__(self, train: TrainConfig) -> None:
        self._used = train.schedule == "plateau"
        self._patience, self._factor = train.plateau_patience, train.plateau_factor
        self._best, self._waited, self.scale = math.inf, 0, 1.0

    def see(self, objective: float) -> None:
        """Take note of a validation, whose ``objective`` is the less the better."""
        better = objective < self._best
        self._best, self._waited = (objective, 0) if better else (self._best, self._waited + 1)
        if self._used and self._waited > self._patience:
            self.scale, self._waited = self.scale * self._factor, 0

    def state_dict(self) -> PlateauState:
        return {"best": self._best, "waited": self._waited, "scale": self.scale}

    def load_state_dict(self, state: PlateauState) -> None:
        self._best, self._waited, self.scale = state["best"], state["waited"], state["scale"]


def learning_rate(train: TrainConfig, update: int) -> float:
    """The rate of an update, counted from 1 to ``train.steps``.

    A straight rise to ``train.learning_rate``, which the last update of the warm-up has. Then half a cosine
    down to 0, which the last update of all has, the same rate for all, or a fall by ``train.step_factor``
    every ``train.step_every`` updates. torch's `LinearLR`, and `CosineAnnealingLR`, `ConstantLR` or `StepLR`
    behind it give the same. A `Plateau` multiplies it.
    """
    rising = warmup_updates(train)
    if update <= rising:
        return train.learning_rate * update / rising
    if train.schedule in ("constant", "plateau"):
        return train.learning_rate
    if train.schedule == "step":
        return train.learning_rate * train.step_factor ** ((update - rising) // train.step_every)
    return train.learning_rate * (1 + math.cos(math.pi * (update - rising) / (train.steps - rising))) / 2


def warmup_updates(train: TrainConfig) -> int:
    """Updates until the rate is at its highest: ``train.warmup`` of all, rounded up, one at least.

    There is one more at least, for the end, unless there is but one.
    """
    return min(max(share_up(train.warmup, train.steps), 1), max(train.steps - 1, 1))
