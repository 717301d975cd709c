"""A subject's BOLD turned into that of others, in the main components of each patch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn


class Components(NamedTuple):
    """Main components of the values of each patch, with unit variance.

    Attributes
    ----------
    mean : (patches, values)
    axes : (patches, values, k), from values to scores
    back : (patches, k, values), from scores to values; the inverse of ``axes`` on their span
    """

    mean: Tensor
    axes: Tensor
    back: Tensor

    @classmethod
    def of(cls, mean: Tensor, axes: Tensor) -> Components:
        """With the way back of orthogonal axes, of which some may be 0."""
        power = axes.square().sum(dim=1)
        return cls(mean, axes, torch.where(power > 0, 1 / power, 0.0)[..., None] * axes.mT)

    def scores(self, patches: Tensor) -> Tensor:
        """(n, patches, values) -> (n, patches, k)."""
        return torch.einsum("npv,pvk->npk", patches - self.mean, self.axes)


class Alignment(nn.Module):
    """Rotates the components of each patch, and leaves what is beside them as it is.

    Parameters
    ----------
    rotations : (hemispheres, patches, k, k) float32: scores times these are as others'
    sides : positions of these hemispheres
    subject : whose BOLD it is for, by position in the store
    """

    def __init__(self, components: Components, rotations: Tensor, sides: Sequence[int], subject: int) -> None:
        super().__init__()
        self._components, self._rotations = components, rotations
        self._sides, self._subject = tuple(sides), subject

    def forward(self, samples: np.ndarray, patches: Tensor) -> Tensor:
        """(n, patches, values): those of the ``samples`` (SAMPLE) of the subject, aligned."""
        assert (samples["subject"] == self._subject).all()
        aligned = patches.clone()
        for place, side in enumerate(self._sides):
            rows = torch.from_numpy(np.flatnonzero(samples["hemisphere"] == side)).to(patches.device)
            scores = self._components.scores(patches[rows])
            turned = torch.einsum("npk,pkl->npl", scores, self._rotations[place]) - scores
            aligned[rows] += torch.einsum("npk,pkv->npv", turned, self._components.back)
        return aligned
