"""The feed that gathers windows on the device, out of runs that lie there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Self

import numpy as np
import torch
from torch import Tensor

from simtrain.feeds.batch import Asked, Batch, torch_type
from simtrain.feeds.runs import Runs


class Device:
    """`simtrain.feeds.Feed` of runs in the memory of the device (of a CPU, too): the index alone travels."""

    name = "device"

    def __init__(self, runs: Runs, frames: int, device: torch.device) -> None:
        self._runs, self._frames = runs, frames
        self.rows = torch.empty(runs.shape, dtype=torch_type(runs.dtype), device=device)
        runs.read_into(self.rows)

    def batches(self, asked: Asked, size: int) -> _Gathered:
        return _Gathered(self, asked, size)

    def gather(self, samples: np.ndarray, out: Tensor) -> Tensor:
        """The windows (n, frames, vertices) of samples, in the memory of ``out``."""
        first = self._runs.first_rows(samples, self._frames)
        index = torch.from_numpy((first[:, None] + np.arange(self._frames)).reshape(-1))
        index = index.to(self.rows.device, non_blocking=True)
        found = torch.index_select(self.rows, 0, index, out=out[: len(index)])
        return found.view(len(samples), self._frames, -1)


class _Gathered:
    """One pass. All batches share their memory, since a GPU does its work in the order that it is given."""

    def __init__(self, feed: Device, asked: Asked, size: int) -> None:
        self.waited = 0.0
        self._feed, self._asked = feed, asked
        self._out = feed.rows.new_empty(size * feed._frames, feed.rows.shape[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def __iter__(self) -> Iterator[Batch]:
        for samples, note in self._asked:
            began = time.perf_counter()
            stored = self._feed.gather(samples, self._out)
            self.waited += time.perf_counter() - began
            yield Batch(samples, stored, note)
