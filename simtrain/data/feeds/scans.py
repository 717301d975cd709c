"""The runs of BOLD that samples need, one hemisphere each, in one array of rows (seconds), end to end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from simtrain.data.collection import ReadsWindows
from simtrain.data.dataset import Dataset

AXES = ("subject", "movie", "hemisphere")
READERS = 8  # threads that read runs: a disk is quicker with several reads under way


class Scans:
    """Which runs there are, and where each lies: a run has as many rows as its movie has seconds.

    Parameters
    ----------
    samples : (n,) SAMPLE, all that will be asked for, but for their seconds

    Attributes
    ----------
    shape : of the array of rows, (seconds of all runs, vertices)
    dtype : of the store
    nbytes : of that array
    """

    def __init__(self, samples: np.ndarray, dataset: Dataset, reader: ReadsWindows) -> None:
        subjects, movies, _, hemispheres, vertices = reader.shape
        self._reader, self._volumes = reader, dataset.volumes
        self._place = np.full((subjects, movies, hemispheres), -1)
        self._place[tuple(samples[axis] for axis in AXES)] = 0
        self._runs = np.argwhere(self._place == 0)
        lengths = self._volumes[self._runs[:, 1]]
        self._first = np.cumsum(lengths) - lengths
        self._place[tuple(self._runs.T)] = self._first
        self.shape = (int(lengths.sum()), vertices)
        self.dtype = reader.dtype
        self.nbytes = int(np.prod(self.shape, dtype=np.int64)) * reader.dtype.itemsize

    def __len__(self) -> int:
        return len(self._runs)

    def first_rows(self, samples: np.ndarray, frames: int) -> np.ndarray:
        """(n,) int64: the row at which the window of each sample begins.

        Raises
        ------
        IndexError
            If a window is not within a run that is here.
        """
        run = self._place[tuple(samples[axis] for axis in AXES)]
        second = samples["second"].astype(np.int64)
        inside = (run >= 0) & (second >= 0) & (second + frames <= self._volumes[samples["movie"]])
        if not inside.all():
            raise IndexError(f"no run here has the window {samples[~inside][0]}")
        return run + second

    def read_into(self, rows: Tensor, part: int = 0, parts: int = 1) -> None:
        """Fill ``rows``, on any device, with the runs, or every ``parts``-th of them from ``part`` on."""
        with ThreadPoolExecutor(READERS, thread_name_prefix="simtrain-runs") as pool:
            try:
                for done in [pool.submit(self._read, run, rows) for run in range(part, len(self), parts)]:
                    done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _read(self, run: int, rows: Tensor) -> None:
        subject, movie, hemisphere = self._runs[run].tolist()
        first, seconds = int(self._first[run]), int(self._volumes[movie])
        target = rows[first : first + seconds]
        on_host = target.device.type == "cpu"
        values = target.numpy() if on_host else np.empty((seconds, rows.shape[1]), self.dtype)
        self._reader.read(np.array([[subject, movie, 0, hemisphere]]), seconds, out=values[None])
        if not on_host:
            target.copy_(torch.from_numpy(values))
