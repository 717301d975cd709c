"""Batches made ahead by a thread while the consumer works on another, and sent to the device meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
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
        self._sender = _Sender(device) if device.type == "cuda" else None
        slot = _Slot if self._sender is None else _DeviceSlot
        self._free: Queue[_Slot] = Queue()
        for _ in range(depth):
            self._free.put(slot(shape, dtype, device))
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
        if self._sender is not None:
            self._sender.finish()

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
                self._team.share(
                    lambda part, of=samples, to=values: self._fill(of[part], to[part]), len(samples)
                )
                if self._sender is not None:
                    self._sender.send(slot)
                self._ready.put((samples, slot, note))
            self._ready.put(None)
        except Exception as error:  # the consumer raises it
            self._ready.put(error)

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

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype, device: torch.device) -> None:
        self._host = self._allocate(shape, dtype)

    def _allocate(self, shape: tuple[int, int, int], dtype: np.dtype) -> Tensor:
        return torch.from_numpy(np.empty(shape, dtype))  # numpy asks for large pages

    def writable(self) -> np.ndarray:
        """The host's part, once nothing reads it any more."""
        return self._host.numpy()

    def take(self) -> Tensor:
        """What the consumer works on."""
        return self._host

    def give_back(self) -> None:
        """The consumer has asked for all that it does with it."""


class _DeviceSlot(_Slot):
    """Pinned memory and its copy on the GPU.

    ``sent`` is behind the copying: after it, the pinned part may be written and the copy may be read.
    ``used`` is behind the consumer's kernels: after it, the copy may be written.
    """

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype, device: torch.device) -> None:
        super().__init__(shape, dtype, device)
        self.copy = torch.empty_like(self._host, device=device, pin_memory=False)
        self.sent, self.used = torch.cuda.Event(), torch.cuda.Event()
        # The memory may come from tensors that kernels of the current stream still read.
        self.used.record(torch.cuda.current_stream(device))

    def _allocate(self, shape: tuple[int, int, int], dtype: np.dtype) -> Tensor:
        return torch.empty(shape, dtype=torch_type(dtype), pin_memory=True)

    def writable(self) -> np.ndarray:
        self.sent.synchronize()
        return super().writable()

    def take(self) -> Tensor:
        torch.cuda.current_stream(self.copy.device).wait_event(self.sent)
        return self.copy

    def give_back(self) -> None:
        self.used.record(torch.cuda.current_stream(self.copy.device))

    def send(self, stream: torch.cuda.Stream) -> None:
        stream.wait_event(self.used)
        self.copy.copy_(self._host, non_blocking=True)
        self.sent.record(stream)


class _Sender:
    """Copies to the GPU on a stream of its own, so that they overlap the consumer's kernels."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)

    def send(self, slot: _DeviceSlot) -> None:
        with torch.cuda.stream(self._stream):
            slot.send(self._stream)

    def finish(self) -> None:
        """Wait for the last copy: behind it, the slots' memory may serve something else."""
        self._stream.synchronize()
