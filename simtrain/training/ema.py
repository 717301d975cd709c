"""An exponential moving average of the weights: smoother than the last step's, and tested instead of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The moving average of the trained weights of a module.

    Parameters
    ----------
    decay : what remains of the average at a step; less in the first ones (``(1 + step) / (10 + step)``),
        which would otherwise hold on to the random weights of the beginning
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._trained = {
            name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad
        }
        self._mean = {name: parameter.detach().clone() for name, parameter in self._trained.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights behind update number ``step``, from 0 on."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self._mean.values()), list(self._trained.values()), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it, the module has the average for its weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Tensor]:
        """Name in the module's state_dict -> average."""
        return self._mean

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, mean in self._mean.items():
            mean.copy_(state[name])

    @torch.no_grad()
    def _swap(self) -> None:
        for name, mean in self._mean.items():
            kept = self._trained[name].clone()
            self._trained[name].copy_(mean)
            mean.copy_(kept)
