"""PCA of rows that are too many for memory: a few passes over blocks of them.

A randomised subspace iteration (Halko, Martinsson & Tropp 2011, arXiv 0909.4061), for one set of columns or
for many side by side, such as those of each cortical patch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

OVERSAMPLE, PASSES = 16, 4


class Axes(NamedTuple):
    """Main axes of each group of columns.

    Attributes
    ----------
    mean : (groups, d)
    axes : (groups, k, d) orthonormal, those of the largest variance first
    variance : (groups, k) of the rows along each axis
    total : (groups,) of the rows along all axes that there are
    """

    mean: Tensor
    axes: Tensor
    variance: Tensor
    total: Tensor

    @property
    def share(self) -> Tensor:
        """(groups,) of the rows' variance that the axes explain."""
        return self.variance.sum(dim=1) / self.total


@torch.no_grad()
def main_axes(blocks: Callable[[], Iterable[Tensor]], components: int, seed: int = 0) -> Axes:
    """PCA of rows that come in blocks (n, groups, d), as often as they are asked for.

    Fewer components than asked for, if there are fewer rows or columns.
    """
    count, mean = _mean(blocks())
    rank = min(components + OVERSAMPLE, count - 1, mean.shape[1])
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(*mean.shape, rank, generator=generator, dtype=mean.dtype)
    basis = torch.linalg.qr(start.to(mean.device))[0]
    for _ in range(PASSES):
        image = torch.zeros_like(basis)
        for centred in _centred(blocks(), mean):
            image += centred.mT @ (centred @ basis)
        basis = torch.linalg.qr(image)[0]
    gram, total = basis.new_zeros(len(mean), rank, rank), mean.new_zeros(len(mean))
    for centred in _centred(blocks(), mean):
        scores = centred @ basis
        gram += scores.mT @ scores
        total += centred.square().sum(dim=(1, 2))
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values.flip(-1)[:, :components].clamp(min=0), vectors.flip(-1)[..., :components]
    axes = (basis @ vectors).mT.contiguous()
    return Axes(mean, axes, values / (count - 1), total / (count - 1))


def _centred(blocks: Iterable[Tensor], mean: Tensor) -> Iterable[Tensor]:
    """(groups, n, d) of each block."""
    return ((block - mean).transpose(0, 1) for block in blocks)


def _mean(blocks: Iterable[Tensor]) -> tuple[int, Tensor]:
    """Number of rows, and their mean (groups, d)."""
    sums = ((len(block), block.sum(dim=0)) for block in blocks)
    count, total = reduce(lambda one, other: (one[0] + other[0], one[1] + other[1]), sums)
    return count, total / count
