"""Training that has ceased to be finite ends before anything of it is logged, shown or saved.

The losses and the norm of the gradients, which clipping needs in any case, say so at every step. On a device
they are only noted there, and read every few steps and before anything leaves it, so that no step waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from simdata.common.errors import UserError
from simtrain.common import distributed

EVERY = 8  # steps between two looks at a GPU; a CPU's values are there at once
SKIPPED_IN_A_ROW = 20  # of fp16: each halves the scale of the loss, which begins at 2**16


class Diverged(UserError):
    """Losses, gradients, weights or figures of validation that nothing may be made of."""


class Guard:
    """Remembers the first step that was not finite.

    With a scaled loss (fp16) gradients that overflow are the scale's fault: the step is skipped and counted.

    Attributes
    ----------
    samples : (n,) SAMPLE of the step that `check` complained of; None until it does
    """

    def __init__(self, device: torch.device, scaler: torch.amp.GradScaler) -> None:
        self._scaler, self._every = scaler, 1 if device.type == "cpu" else EVERY
        self._step, self._skipped, self._in_a_row = torch.zeros(3, dtype=torch.int64, device=device)
        self._values: Tensor | None = None
        self._names: tuple[str, ...] = ()
        self._recent: deque[tuple[int, float, np.ndarray]] = deque(maxlen=self._every)
        self.samples: np.ndarray | None = None

    def see(
        self, step: int, rate: float, losses: Mapping[str, Tensor], norm: Tensor, samples: np.ndarray
    ) -> None:
        """Note the losses of a step, counted from 1, and the norm of its gradients."""
        self._names = (*losses, "the norm of the gradients")
        values = torch.stack([*losses.values(), norm]).detach()
        finite = values.isfinite()
        if self._scaler.is_enabled():
            skipped = finite[:-1].all() & ~finite[-1]
            self._skipped = self._skipped + skipped
            self._in_a_row = torch.where(skipped, self._in_a_row + 1, 0)
            finite = finite[:-1]
        first = (self._step == 0) & ~finite.all()
        self._values = values if self._values is None else torch.where(first, values, self._values)
        self._step = torch.where(first, step, self._step)
        self._recent.append((step, rate, samples))

    @property
    def due(self) -> bool:
        """Whether it is time to `check`, whatever else is done with the step."""
        return bool(self._recent) and self._recent[-1][0] % self._every == 0

    def check(self) -> None:
        """Look at the steps since the last check: the same in all processes.

        Raises
        ------
        Diverged
            If one was not finite, or loss scaling finds no scale at which gradients are.
        """
        if (step := distributed.agree(int(self._step) or None)) is not None:
            _, rate, self.samples = next(note for note in self._recent if note[0] == step)
            assert self._values is not None  # since a step was seen
            values = zip(self._names, self._values.tolist(), strict=True)
            told = ", ".join(f"{name} {value:.3g}" for name, value in values)
            raise Diverged(f"step {step} is not finite ({told}) at a learning rate of {rate:.3g}")
        if self._scaler.is_enabled() and self._recent:
            scale, in_a_row = self._scaler.get_scale(), int(self._in_a_row)
            if scale < 1 or in_a_row >= SKIPPED_IN_A_ROW:
                step, rate, self.samples = self._recent[-1]
                raise Diverged(
                    f"step {step} is the last of {in_a_row} in a row that were skipped, since gradients "
                    f"overflow even with the loss scaled by {scale:.3g}, at a learning rate of {rate:.3g}"
                )

    def readings(self) -> dict[str, float]:
        """How many steps were skipped, where the loss is scaled."""
        return {"skipped": int(self._skipped)} if self._scaler.is_enabled() else {}

    def state_dict(self) -> dict[str, int]:
        return {"skipped": int(self._skipped), "in_a_row": int(self._in_a_row)}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self._skipped = torch.full_like(self._skipped, state["skipped"])
        self._in_a_row = torch.full_like(self._in_a_row, state["in_a_row"])
