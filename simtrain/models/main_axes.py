"""PCA of rows that are too many for memory: a few passes over blocks of them.

A randomised subspace iteration (Halko, Martinsson & Tropp 2011, arXiv 0909.4061), for one set of columns or
for many side by side, such as those of each cortical patch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

OVERSAMPLE, PASSES = 16, 4  # axes beside those asked for, passes over the rows


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

    Raises
    ------
    FloatingPointError
        If a row is not finite.
    """
    mean = next(iter(blocks())).mean(dim=0)  # near enough to begin with
    rank = min(components + OVERSAMPLE, mean.shape[1])
    start = torch.randn(*mean.shape, rank, generator=torch.Generator().manual_seed(seed), dtype=mean.dtype)
    basis = torch.linalg.qr(start.to(mean.device))[0]
    for _ in range(PASSES - 1):
        found = _pass(blocks(), mean, basis)
        if not found.total.isfinite().all():
            raise FloatingPointError("a row is not finite")
        mean, rank = found.mean, min(rank, found.rows - 1)
        basis = torch.linalg.qr(found.image[..., :rank])[0]
    found = _pass(blocks(), mean, basis)
    values, vectors = torch.linalg.eigh(basis.mT @ found.image)
    values, vectors = values.flip(-1)[:, :components].clamp(min=0), vectors.flip(-1)[..., :components]
    axes = (basis @ vectors).mT.contiguous()
    return Axes(found.mean, axes, values / (found.rows - 1), found.total / (found.rows - 1))


class _Pass(NamedTuple):
    """What a pass over rows gives of each group, beside their number and mean.

    Attributes
    ----------
    image : (groups, d, k), what their scatter matrix (rows times the covariance) makes of a basis
    total : (groups,), its trace
    """

    rows: int
    mean: Tensor
    image: Tensor
    total: Tensor


def _pass(blocks: Iterable[Tensor], near: Tensor, basis: Tensor) -> _Pass:
    """Over blocks of rows, of which a mean is known that is ``near`` enough to subtract before the sums."""
    number, image = 0, torch.zeros_like(basis)
    sums, total = torch.zeros_like(near), near.new_zeros(len(near))
    for block in blocks:
        rows = block - near
        number += len(rows)
        sums += rows.sum(dim=0)
        total += rows.square().sum(dim=(0, 2))
        of_groups = rows.transpose(0, 1)
        image.baddbmm_(of_groups.mT, of_groups @ basis)  # in place: a product apart takes as long to write
    shift = sums / number
    image -= sums[..., None] * (shift[:, None] @ basis)
    return _Pass(number, near + shift, image, total - number * shift.square().sum(dim=1))
