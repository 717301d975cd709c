"""Which patches of a window a masked autoencoder hides.

``tubes`` hides a patch in all frames. ``random`` hides in each frame patches of its own choice, where the
frames of a patch are one token, and any tokens of the window, where each frame has tokens of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from simtrain.common.counts import share_near


class Mask(NamedTuple):
    """What is hidden of a batch.

    Attributes
    ----------
    hidden : (batch, patches, frames) bool
    visible : (batch, visible tokens) int64, ascending: the tokens that the encoder sees, in its order (frame
        after frame, where these have tokens of their own); None where it sees all, with parts of them hidden
    """

    hidden: Tensor
    visible: Tensor | None


class Masking(NamedTuple):
    """How windows of ``patches`` and ``frames`` are masked.

    Attributes
    ----------
    kind : "tubes" or "random"
    ratio : share to hide; the nearest number is hidden of every sample, and of every frame by tubes
    apart : each frame has tokens of its own
    """

    kind: str
    ratio: float
    patches: int
    frames: int
    apart: bool

    def draw(self, seeds: Sequence[int], device: torch.device) -> Mask:
        """Masks of as many samples as there are seeds.

        A sample's mask is a function of its seed, whatever the device and the rest of the batch.
        """
        if self.kind == "tubes":
            visible = self._visible(seeds, 1, self.patches, device)
            hidden = self._hidden(visible, self.patches).transpose(1, 2).expand(-1, -1, self.frames)
            if not self.apart:
                return Mask(hidden, visible[:, 0])
            first = torch.arange(self.frames, device=device)[:, None] * self.patches
            return Mask(hidden, (visible + first).flatten(1))
        if self.apart:
            visible = self._visible(seeds, 1, self.frames * self.patches, device)
            hidden = self._hidden(visible, self.frames * self.patches)[:, 0]
            return Mask(hidden.unflatten(1, (self.frames, -1)).transpose(1, 2), visible[:, 0])
        visible = self._visible(seeds, self.frames, self.patches, device)
        return Mask(self._hidden(visible, self.patches).transpose(1, 2), None)

    def _visible(self, seeds: Sequence[int], rows: int, count: int, device: torch.device) -> Tensor:
        """(batch, rows, shown) int64, ascending: those of ``count`` that draw the smallest numbers."""
        noise = (torch.rand(rows, count, generator=torch.Generator().manual_seed(seed)) for seed in seeds)
        # Stable, so that equal draws do not depend on the device.
        order = torch.stack(list(noise)).to(device).argsort(dim=2, stable=True)
        return order[..., : count - share_near(self.ratio, count)].sort(dim=2).values

    @staticmethod
    def _hidden(visible: Tensor, count: int) -> Tensor:
        """(batch, rows, shown) -> (batch, rows, count) bool."""
        everything = torch.ones(*visible.shape[:2], count, dtype=torch.bool, device=visible.device)
        return everything.scatter_(2, visible, False)
