"""The feed that reads windows from the store, ahead of training."""

from __future__ import annotations

import numpy as np
import torch

from simtrain.data.collection import ReadsWindows
from simtrain.data.feeds.batch import Asked
from simtrain.data.feeds.pipeline import Ahead

READ_AHEAD = 4  # batches, or fewer where they are large
FEWEST = 2  # one that is used, one that is read
AHEAD_BYTES = 2**29  # that batches may take together, if the fewest take no more
READERS = 8  # threads a batch: more than cores, since they wait for the disk


def read_ahead(shape: tuple[int, int, int], dtype: np.dtype) -> int:
    """How many batches of a shape are held: those in the making and the one that is used."""
    size = int(np.prod(shape)) * dtype.itemsize
    return min(READ_AHEAD, max(FEWEST, AHEAD_BYTES // size))


class Stream:
    """`simtrain.data.feeds.Feed` of windows that are read when their turn comes.

    Parameters
    ----------
    readers : threads that read a batch
    """

    name = "stream"

    def __init__(
        self, reader: ReadsWindows, frames: int, device: torch.device, *, readers: int = READERS
    ) -> None:
        self._reader, self._frames, self._device, self._readers = reader, frames, device, readers

    def batches(self, asked: Asked, size: int) -> Ahead:
        shape = (size, self._frames, self._reader.shape[-1])
        return Ahead(
            asked,
            self._read,
            shape,
            self._reader.dtype,
            self._device,
            depth=read_ahead(shape, self._reader.dtype),
            team=self._readers,
        )

    def _read(self, samples: np.ndarray, out: np.ndarray) -> None:
        axes = ("subject", "movie", "second", "hemisphere")
        self._reader.read(np.stack([samples[axis] for axis in axes], axis=1), self._frames, out=out)
