"""Patch embeddings: from the values of a patch to its token, before the transformer's blocks.

``linear`` is that of ViT and SiT, one map for all patches. It takes cortex to be the same everywhere;
``per_patch`` does not: since a vertex is the same place in all subjects, a patch can have a map of its own
(a locally connected layer: LeCun 1989; Taigman et al. 2014, section 2.2). ``pca`` learns that map from the
few main components of the patch in training windows, instead of from all of its values. ``whitened`` takes
the same components to unit variance, but has one map for all patches again. Other packages can add theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from simtrain.config.registries import PATCH_EMBEDDINGS
from simtrain.models.main_axes import Axes, main_axes

NEGLIGIBLE = 1e-6  # of the variance along a patch's first axis: under it, what is along an axis is rounding


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
    options : of the class: keys of the configuration's ``model`` that it takes as further parameters
    fitted : of the class: whether `fit` needs training windows

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
    options: ClassVar[tuple[str, ...]] = ()
    fitted: ClassVar[bool] = False

    def fit(self, blocks: Callable[[], Iterable[Tensor]]) -> None:
        """Take what the embedding has to know of training windows, once, before training from random weights.

        What it takes belongs into buffers, so that it is kept with the weights.

        Parameters
        ----------
        blocks : gives values (n, patches, vertices * frames) of some training windows, n at a time, as often
            as it is called
        """


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
        # A matrix, (patches * values, dim), so that it decays as other matrices do.
        self.weight = nn.Parameter(first.weight.detach().T.repeat(patches, 1))
        self.bias = nn.Parameter(first.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        return by_patch(x, self.weight) + self.bias


class MainComponents(PatchEmbedding):
    """What knows the main components of each patch in training windows.

    A patch has fewer than asked for where its values have no more dimensions, as at the border of the cortex;
    the others are 0.

    Parameters
    ----------
    components : of each patch

    Attributes
    ----------
    power : of the class: of the variance along an axis, what the axis is multiplied by
    """

    options = ("components",)
    fitted = True
    power: ClassVar[float]
    mean: Tensor
    axes: Tensor

    def __init__(self, patches: int, vertices: int, frames: int, components: int) -> None:
        super().__init__()
        values = vertices * frames
        self.register_buffer("mean", torch.zeros(patches, values))
        self.register_buffer("axes", torch.zeros(patches, values, min(components, values)))

    def fit(self, blocks: Callable[[], Iterable[Tensor]]) -> None:
        self.take(main_axes(blocks, self.axes.shape[2]))

    def take(self, found: Axes) -> None:
        """Keep the main axes of the patches' values in training windows."""
        largest = found.variance.amax(dim=1, keepdim=True)
        scale = torch.where(found.variance > NEGLIGIBLE * largest, found.variance**self.power, 0.0)
        self.mean.copy_(found.mean)
        self.axes[..., : scale.shape[1]] = found.axes.mT * scale[:, None]

    def scores(self, x: Tensor) -> Tensor:
        """(..., patches, values) -> (..., patches, components)."""
        return torch.einsum("...pv,pvk->...pk", x - self.mean, self.axes)


class PatchPCA(MainComponents):
    """The main components of each patch with unit variance, and a linear map for each patch from them."""

    power = -1 / 2

    def __init__(self, patches: int, vertices: int, frames: int, dim: int, components: int) -> None:
        super().__init__(patches, vertices, frames, components)
        kept = self.axes.shape[2]
        self.weight = nn.Parameter(torch.randn(patches * kept, dim) / kept**0.5)
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        return by_patch(self.scores(x), self.weight) + self.bias


class Whitened(MainComponents):
    """Each patch whitened by its own statistics, and then one linear map for all patches.

    Whitening has unit variance along each of the patch's main components and nothing beside them, and is the
    symmetric one (ZCA: Bell & Sejnowski 1997), so that values stay at their vertices, as the map needs them.
    """

    power = -1 / 4  # since the axes are used twice, there and back

    def __init__(self, patches: int, vertices: int, frames: int, dim: int, components: int) -> None:
        super().__init__(patches, vertices, frames, components)
        self.map = nn.Linear(vertices * frames, dim)
        nn.init.normal_(
            self.map.weight, std=self.axes.shape[2] ** -0.5
        )  # tokens of variance 1, as PatchPCA's

    def forward(self, x: Tensor) -> Tensor:
        return self.map(torch.einsum("...pk,pvk->...pv", self.scores(x), self.axes))


def by_patch(x: Tensor, weight: Tensor) -> Tensor:
    """Rows through a map of each patch's own: (..., patches, n), (patches * n, m) -> (..., patches, m)."""
    return torch.einsum("...pn,pnm->...pm", x, weight.unflatten(0, (x.shape[-2], -1)))


def find(name: str) -> type[PatchEmbedding]:
    """The class of a patch embedding, by name or ``package.module:Class``.

    Raises
    ------
    UserError
        If there is none, it cannot be imported, or it is no `PatchEmbedding`.
    """
    found = PATCH_EMBEDDINGS.subclass(name, PatchEmbedding)
    PATCH_EMBEDDINGS.must_take(name, found, keywords=("patches", "vertices", "frames", "dim", *found.options))
    return found
