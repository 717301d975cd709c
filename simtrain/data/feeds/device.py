"""The feed that gathers windows on the device, out of runs that lie there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Self

import numpy as np
import torch
from torch import Tensor

from simtrain.data.feeds.batch import Asked, Batch, torch_type
from simtrain.data.feeds.non_temporal import copy_windows
from simtrain.data.feeds.scans import Scans


class Device:
    """`data.feeds.Feed` of runs in the memory of the device (of a CPU, too): the index alone travels."""

    name = "device"

    def __init__(self, runs: Scans, frames: int, device: torch.device) -> None:
        self._runs, self._frames = runs, frames
        self.rows = torch.empty(runs.shape, dtype=torch_type(runs.dtype), device=device)
        runs.read_into(self.rows)

    def batches(self, asked: Asked, size: int) -> _Gathered:
        return _Gathered(self, asked, size)

    def gather(self, samples: np.ndarray, out: Tensor) -> Tensor:
        """The windows (n, frames, vertices) of samples, in the memory of ``out``."""
        first, frames = self._runs.first_rows(samples, self._frames), self._frames
        out = out[: len(samples) * frames]
        if out.device.type == "cpu":
            windows = out.numpy().view(np.uint8).reshape(len(samples), -1)
            copy_windows(self.rows.numpy().view(np.uint8), first, windows)
        else:
            select_windows(self.rows, first, frames, out)
        return out.view(len(samples), frames, -1)


def select_windows(rows: Tensor, first: np.ndarray, frames: int, out: Tensor) -> None:
    """Copy ``frames`` rows from each of ``first`` on to ``out`` (n * frames, vertices), on the device."""
    index = torch.from_numpy((first[:, None] + np.arange(frames)).reshape(-1))
    torch.index_select(rows, 0, index.to(rows.device, non_blocking=True), out=out)


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
