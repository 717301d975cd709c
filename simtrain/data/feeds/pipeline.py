"""Batches made ahead by a thread while the consumer works on another, and sent to the device meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, Queue
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from simtrain.data.feeds.batch import Asked, Batch, torch_type
from simtrain.data.feeds.team import Team

Fill = Callable[[np.ndarray, np.ndarray], None]


class Ahead:
    """One pass over batches (`simtrain.data.feeds.Batches`).

    Parameters
    ----------
    fill : writes the windows of samples into (n, frames, vertices); called in several threads
    shape : of the largest batch
    depth : how many batches are made ahead
    team : size of the team that fills a batch
    """

    def __init__(
        self,
        asked: Asked,
        fill: Fill,
        shape: tuple[int, int, int],
        dtype: np.dtype,
        device: torch.device,
        *,
        depth: int,
        team: int,
    ) -> None:
        self.waited = 0.0
        self._asked, self._fill = asked, fill
        self._team = Team(team, "feed")
        # A stream of its own, so that copies to the GPU overlap the consumer's kernels.
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._free: Queue[_Slot] = Queue()
        for _ in range(depth):
            if self._stream is None:
                self._free.put(_Slot(shape, dtype))
            else:
                self._free.put(_DeviceSlot(shape, dtype, device, self._stream))
        self._ready: Queue[tuple[np.ndarray, _Slot, Any] | Exception | None] = Queue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work_ahead, name="simtrain-feed", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._team.close()
        if self._stream is not None:
            self._stream.synchronize()  # behind the last copy, the slots' memory may serve something else

    def __iter__(self) -> Iterator[Batch]:
        while True:
            began = time.perf_counter()
            item = self._ready.get()
            self.waited += time.perf_counter() - began
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            samples, slot, note = item
            yield Batch(samples, slot.take()[: len(samples)], note)
            slot.give_back()
            self._free.put(slot)

    def _work_ahead(self) -> None:
        try:
            for samples, note in self._asked:
                slot = self._next_slot()
                if slot is None:
                    return
                values = slot.writable()[: len(samples)]
                self._team.share(partial(self._fill_part, samples, values), len(samples))
                slot.send()
                self._ready.put((samples, slot, note))
            self._ready.put(None)
        except Exception as error:  # the consumer raises it
            self._ready.put(error)

    def _fill_part(self, samples: np.ndarray, values: np.ndarray, part: slice) -> None:
        self._fill(samples[part], values[part])

    def _next_slot(self) -> _Slot | None:
        """A slot whose batch the consumer is done with; None once the pass is over."""
        while not self._stop.is_set():
            try:
                return self._free.get(timeout=0.1)
            except Empty:
                continue
        return None


class _Slot:
    """Memory for one batch, used again and again; on a CPU, the consumer takes it as it was filled."""

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype) -> None:
        self._host = self._allocate(shape, dtype)

    def _allocate(self, shape: tuple[int, int, int], dtype: np.dtype) -> Tensor:
        return torch.from_numpy(np.empty(shape, dtype))  # numpy asks for large pages

    def writable(self) -> np.ndarray:
        """The host's part, once nothing reads it any more."""
        return self._host.numpy()

    def send(self) -> None:
        """Bring what was written to where the consumer takes it."""

    def take(self) -> Tensor:
        """What the consumer works on."""
        return self._host

    def give_back(self) -> None:
        """The consumer has asked for all that it does with it."""


class _DeviceSlot(_Slot):
    """Pinned memory and its copy on the GPU, which ``stream`` brings there.

    ``sent`` is behind the copying: after it, the pinned part may be written and the copy may be read.
    ``used`` is behind the consumer's kernels: after it, the copy may be written.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        dtype: np.dtype,
        device: torch.device,
        stream: torch.cuda.Stream,
    ) -> None:
        super().__init__(shape, dtype)
        self._stream = stream
        self.copy = torch.empty_like(self._host, device=device, pin_memory=False)
        self.sent, self.used = torch.cuda.Event(), torch.cuda.Event()
        # The memory may come from tensors that kernels of the current stream still read.
        self.used.record(torch.cuda.current_stream(device))

    def _allocate(self, shape: tuple[int, int, int], dtype: np.dtype) -> Tensor:
        return torch.empty(shape, dtype=torch_type(dtype), pin_memory=True)

    def writable(self) -> np.ndarray:
        self.sent.synchronize()
        return super().writable()

    def send(self) -> None:
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(self.used)
            self.copy.copy_(self._host, non_blocking=True)
            self.sent.record(self._stream)

    def take(self) -> Tensor:
        torch.cuda.current_stream(self.copy.device).wait_event(self.sent)
        return self.copy

    def give_back(self) -> None:
        self.used.record(torch.cuda.current_stream(self.copy.device))
