"""From BOLD as stored, z-scored by vertex, back to the scanner's units: the mean and s.d. of every run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from simdata.common.errors import UserError

if TYPE_CHECKING:
    from simtrain.data.dataset import Dataset

KEPT = {"vertex-zscore": (), "vertex-demean": ("bold_std",), "none": ("bold_mean", "bold_std")}


class RunScale(NamedTuple):
    """What makes BOLD of stored values: times ``factor``, plus ``offset``, each by vertex.

    Attributes
    ----------
    factor : (rows, vertices) float32, NaN without data
    offset : (rows, vertices) float32, or of no rows: nothing is added
    row : (n,) int64, which of the rows is a sample's
    """

    factor: Tensor
    offset: Tensor
    row: Tensor

    def apply(self, stored: Tensor) -> Tensor:
        """(n, frames, vertices) float32 from values as stored, whose missing ones are NaN."""
        scaled = stored.float() * self.factor[self.row][:, None]
        return scaled + self.offset[self.row][:, None] if len(self.offset) else scaled


class RunScales:
    """The `RunScale` of samples of a store.

    A run's statistics are read when a sample of it first comes, and then stay on the device: 4 bytes for each
    run, hemisphere and vertex (241 MB of the HCP release), and as much again where the mean is added.

    Parameters
    ----------
    vertices : what is done by vertex, a key of ``KEPT``

    Attributes
    ----------
    nbytes : of all runs

    Raises
    ------
    UserError
        If the store has not kept what it takes.
    """

    def __init__(self, dataset: Dataset, vertices: str) -> None:
        must_be_kept(dataset, vertices)
        self._view, self._names = dataset.view, KEPT[vertices]
        self._step = float(dataset.view.bold.encoding.get("scale_factor", 1.0))
        self._sides, self._mesh = dataset.cortex.shape
        runs = int(dataset.complete.sum()) * self._sides
        self._rows = runs if self._names else 1
        self.nbytes = 4 * self._mesh * self._rows * max(1, len(self._names))
        self._first = np.full(dataset.complete.shape, -1 if self._names else 0)  # row of the run's L
        self._tables: tuple[Tensor, Tensor] | None = None

    def of(self, samples: np.ndarray, device: torch.device) -> RunScale:
        """The scale of ``samples`` (SAMPLE), on a device: the same at every call."""
        factor, offset = self._tables = self._tables or self._empty(device)
        subject, movie = samples["subject"], samples["movie"]
        for run in set(zip(subject.tolist(), movie.tolist(), strict=True)):
            if self._first[run] < 0:
                self._read(run, factor, offset)
        row = self._first[subject, movie] + (samples["hemisphere"] if self._names else 0)
        return RunScale(factor, offset, torch.from_numpy(row).to(device, non_blocking=True))

    def _empty(self, device: torch.device) -> tuple[Tensor, Tensor]:
        added = self._rows if "bold_mean" in self._names else 0
        factor, offset = (torch.empty(rows, self._mesh, device=device) for rows in (self._rows, added))
        return (factor if self._names else factor.fill_(self._step)), offset

    def _read(self, run: tuple[int, int], factor: Tensor, offset: Tensor) -> None:
        first = self._sides * int((self._first >= 0).sum())
        here = slice(first, first + self._sides)
        of_run = self._view.isel(subject=run[0], movie=run[1])
        factor[here] = torch.from_numpy(np.atleast_2d(of_run.bold_std.values) * np.float32(self._step))
        if len(offset):
            offset[here] = torch.from_numpy(np.atleast_2d(of_run.bold_mean.values))
        self._first[run] = first


def must_be_kept(dataset: Dataset, vertices: str) -> None:
    """Refuse a store without the statistics that a way of normalising (a key of ``KEPT``) needs.

    Raises
    ------
    UserError
        If it has none.
    """
    if lacking := [name for name in KEPT[vertices] if name not in dataset.view]:
        raise UserError(
            f"{dataset.path} has no {' and no '.join(lacking)}, so that its z-scores cannot be undone "
            "(data.normalise, data.test_normalise): take vertex-zscore, or build the store again with "
            "`simdata build`"
        )
