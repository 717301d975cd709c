"""The feed that copies windows out of runs in the host's memory."""

from __future__ import annotations

import numpy as np
import torch

from simdata.common.cores import available_cores
from simtrain.data.feeds.batch import Asked
from simtrain.data.feeds.non_temporal import copy_windows
from simtrain.data.feeds.pipeline import Ahead
from simtrain.data.feeds.scans import Scans
from simtrain.data.feeds.shared import shared_rows

DEPTH = 2  # batches: one that is used, one that is made
COPIERS = 4  # threads a batch: they reach what memory gives


class Memory:
    """`simtrain.data.feeds.Feed` of runs that are read once, by all processes of this machine together.

    Parameters
    ----------
    copiers : threads that copy a batch; none for up to 4 cores
    """

    name = "memory"

    def __init__(self, runs: Scans, frames: int, device: torch.device, *, copiers: int | None = None) -> None:
        self._runs, self._frames, self._device = runs, frames, device
        self._copiers = copiers or min(COPIERS, available_cores())
        self.rows = shared_rows(runs)
        self._bytes = self.rows.numpy().view(np.uint8)

    def batches(self, asked: Asked, size: int) -> Ahead:
        shape = (size, self._frames, self.rows.shape[1])
        return Ahead(
            asked, self._copy, shape, self._runs.dtype, self._device, depth=DEPTH, team=self._copiers
        )

    def _copy(self, samples: np.ndarray, out: np.ndarray) -> None:
        windows = out.reshape(len(out), -1).view(np.uint8)
        copy_windows(self._bytes, self._runs.first_rows(samples, self._frames), windows)
