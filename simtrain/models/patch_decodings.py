"""From a token of the masked autoencoder's decoder to the values of its patch: patch embeddings, backwards.

``linear`` is that of He et al. (2022) and of vsMAE, one map for all patches. What of a patch can be told from
others is a pattern over its own vertices: as many patterns as patches, which one map of a token's few
dimensions does not have. With ``per_patch`` each patch has a map of its own; with ``pca`` that map ends in
the main components of the patch in training windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from simtrain.models.main_axes import Axes, main_axes
from simtrain.models.patch_embeddings import by_patch


class PatchDecoding(nn.Module):
    """Takes tokens (..., patches, dim), gives values (..., patches, values).

    Attributes
    ----------
    fitted : of the class: whether `fit` needs training windows
    """

    fitted: ClassVar[bool] = False

    def fit(self, blocks: Callable[[], Iterable[Tensor]]) -> None:
        """As that of `PatchEmbedding`: blocks (n, patches, values), as often as it is called."""


class LinearDecoding(nn.Linear, PatchDecoding):
    """One linear map, the same for every patch."""


class PerPatchDecoding(PatchDecoding):
    """A linear map for each patch; all of them begin as one and the same, as `LinearDecoding`."""

    def __init__(self, patches: int, dim: int, values: int) -> None:
        super().__init__()
        first = nn.Linear(dim, values)
        # A matrix, (patches * dim, values), so that it decays as other matrices do.
        self.weight = nn.Parameter(first.weight.detach().T.repeat(patches, 1))
        self.bias = nn.Parameter(first.bias.detach().repeat(patches, 1))

    def forward(self, x: Tensor) -> Tensor:
        return by_patch(x, self.weight) + self.bias


class PCADecoding(PatchDecoding):
    """A linear map for each patch to its main components, in units of their s.d., and these to values.

    It begins at the mean of training windows, with components of 0.
    """

    fitted = True
    mean: Tensor
    axes: Tensor

    def __init__(self, patches: int, dim: int, values: int, components: int) -> None:
        super().__init__()
        kept = min(components, values)
        self.register_buffer("mean", torch.zeros(patches, values))
        self.register_buffer("axes", torch.zeros(patches, kept, values))
        self.weight = nn.Parameter(torch.zeros(patches * dim, kept))
        self.bias = nn.Parameter(torch.zeros(patches, kept))

    def fit(self, blocks: Callable[[], Iterable[Tensor]]) -> None:
        self.take(main_axes(blocks, self.axes.shape[1]))

    def take(self, found: Axes) -> None:
        """Keep the main axes of the patches' values in training windows."""
        self.mean.copy_(found.mean)
        self.axes[:, : found.axes.shape[1]] = found.axes * found.variance.sqrt()[..., None]

    def forward(self, x: Tensor) -> Tensor:
        components = by_patch(x, self.weight) + self.bias
        return torch.einsum("...pk,pkv->...pv", components, self.axes) + self.mean


def make_decoding(name: str, patches: int, dim: int, values: int, components: int) -> PatchDecoding:
    """A new one, by its name in the configuration."""
    if name == "linear":
        return LinearDecoding(dim, values)
    if name == "per_patch":
        return PerPatchDecoding(patches, dim, values)
    return PCADecoding(patches, dim, values, components)
