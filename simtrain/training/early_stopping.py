"""Early stopping: training ends when validation has not improved for a while."""

from __future__ import annotations

import math
from typing import TypedDict


class State(TypedDict):
    """What a checkpoint keeps of a `Patience`."""

    best: float
    waited: int


class Patience:
    """Follows the validation loss.

    Parameters
    ----------
    validations : how many in a row may fail to improve on the best; None: any number
    """

    def __init__(self, validations: int | None) -> None:
        self._validations = validations
        self._best, self._waited = math.inf, 0

    @property
    def exhausted(self) -> bool:
        return self._validations is not None and self._waited >= self._validations

    def improved(self, loss: float) -> bool:
        """Take note of a validation's loss: is it the best so far? One that is not finite never is."""
        better = math.isfinite(loss) and loss < self._best
        self._best, self._waited = (loss, 0) if better else (self._best, self._waited + 1)
        return better

    def state_dict(self) -> State:
        return {"best": self._best, "waited": self._waited}

    def load_state_dict(self, state: State) -> None:
        self._best, self._waited = state["best"], state["waited"]
