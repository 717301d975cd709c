"""From BOLD as stored, z-scored by vertex, back to the scanner's units: the mean and s.d. of every run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from simtrain.data.collection import parts_of, run_in
from simtrain.data.dataset import Dataset
from simtrain.data.kept_statistics import KEPT, must_be_kept


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
        self._parts, self._names = parts_of(dataset), KEPT[vertices]
        for part in self._parts:
            must_be_kept(part, vertices)
        self._dataset = dataset
        self._sides, self._mesh = dataset.cortex.shape
        runs = int(dataset.complete.sum()) * self._sides
        self._rows = runs if self._names else len(self._parts)
        self.nbytes = 4 * self._mesh * self._rows * max(1, len(self._names))
        self._first = np.full(dataset.complete.shape, -1)  # row of the run's L, or of its store
        self._filled = 0  # rows
        self._tables: tuple[Tensor, Tensor] | None = None

    def of(self, samples: np.ndarray, device: torch.device) -> RunScale:
        """The scale of ``samples`` (SAMPLE), on a device: the same at every call."""
        factor, offset = self._tables = self._tables or self._empty(device)
        subject, movie = samples["subject"], samples["movie"]
        for run in set(zip(subject.tolist(), movie.tolist(), strict=True)):
            if self._first[run] < 0:
                self._first[run] = self._row(run, factor, offset)
        row = self._first[subject, movie] + (samples["hemisphere"] if self._names else 0)
        return RunScale(factor, offset, torch.from_numpy(row).to(device, non_blocking=True))

    def _empty(self, device: torch.device) -> tuple[Tensor, Tensor]:
        added = self._rows if "bold_mean" in self._names else 0
        factor, offset = (torch.empty(rows, self._mesh, device=device) for rows in (self._rows, added))
        if not self._names:
            for row, part in zip(factor, self._parts, strict=True):
                row.fill_(_step(part))
        return factor, offset

    def _row(self, run: tuple[int, int], factor: Tensor, offset: Tensor) -> int:
        """That of its store, or of the run's first hemisphere, which is filled with all of the run."""
        number, subject, movie = run_in(self._dataset, *run)
        if not self._names:
            return number
        first, part = self._filled, self._parts[number]
        here, of_run = slice(first, first + self._sides), part.view.isel(subject=subject, movie=movie)
        factor[here] = torch.from_numpy(np.atleast_2d(of_run.bold_std.values) * np.float32(_step(part)))
        if len(offset):
            offset[here] = torch.from_numpy(np.atleast_2d(of_run.bold_mean.values))
        self._filled += self._sides
        return first


def _step(store: Dataset) -> float:
    """What a stored 1 stands for."""
    return float(store.view.bold.encoding.get("scale_factor", 1.0))
