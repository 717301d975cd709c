"""Patch embeddings: from the values of a patch to its token, before the transformer's blocks.

``linear`` is that of ViT and SiT, one map for all patches. It takes cortex to be the same everywhere;
``per_patch`` does not: since a vertex is the same place in all subjects, a patch can have a map of its own
(a locally connected layer: LeCun 1989; Taigman et al. 2014, section 2.2). Other packages can add theirs.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from simtrain.config.registries import PATCH_EMBEDDINGS


class PatchEmbedding(nn.Module):
    """What every patch embedding is a subclass of.

    It is registered under the entry point group ``simtrain.patch_embeddings``, or named as
    ``package.module:Class``. It is made with the parameters below by their names, and then called with
    values (..., patches, vertices * frames), the frames of a vertex together, to give (..., patches, dim).

    Parameters
    ----------
    patches : number of patches of a hemisphere
    vertices : of one patch
    frames : that one token has: those of a window, or 1 where each frame has tokens of its own
    dim : width of a token

    Attributes
    ----------
    shared : of the class: the same map for every patch, so that some patches may be given alone

    Examples
    --------
    >>> class Convolved(PatchEmbedding):  # over the frames of each vertex, then over vertices
    ...     def __init__(self, patches, vertices, frames, dim):
    ...         super().__init__()
    ...         self.shape = vertices, frames
    ...         self.time = nn.Conv1d(1, 4, kernel_size=3, padding=1)
    ...         self.space = nn.Linear(vertices * frames * 4, dim)
    ...
    ...     def forward(self, x):
    ...         series = nn.functional.gelu(self.time(x.reshape(-1, 1, self.shape[1])))
    ...         return self.space(series.reshape(*x.shape[:-1], -1))
    >>> Convolved(patches=20, vertices=6, frames=3, dim=8)(torch.zeros(2, 20, 18)).shape
    torch.Size([2, 20, 8])
    """

    shared: ClassVar[bool] = False


class Linear(nn.Linear, PatchEmbedding):
    """One linear map, the same for every patch (ViT: Dosovitskiy et al. 2021; SiT: Dahan et al. 2022)."""

    shared = True

    def __init__(self, patches: int, vertices: int, frames: int, dim: int) -> None:
        super().__init__(vertices * frames, dim)


class PerPatch(PatchEmbedding):
    """A linear map for each patch; all of them begin as one and the same, as `Linear`."""

    def __init__(self, patches: int, vertices: int, frames: int, dim: int) -> None:
        super().__init__()
        first = nn.Linear(vertices * frames, dim)
        self.patches = patches
        # A matrix, (patches * values, dim), so that it decays as other matrices do.
        self.weight = nn.Parameter(first.weight.detach().T.repeat(patches, 1))
        self.bias = nn.Parameter(first.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.unflatten(0, (self.patches, -1))
        return torch.einsum("...pv,pvd->...pd", x, weight) + self.bias


def find(name: str) -> type[PatchEmbedding]:
    """The class of a patch embedding, by name or ``package.module:Class``.

    Raises
    ------
    UserError
        If there is none, it cannot be imported, or it is no `PatchEmbedding`.
    """
    found = PATCH_EMBEDDINGS.subclass(name, PatchEmbedding)
    PATCH_EMBEDDINGS.must_take(name, found, keywords=("patches", "vertices", "frames", "dim"))
    return found
