"""The feed: windows read ahead by a thread, in the stored dtype, decoded on the device."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from queue import Empty, Queue
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from simdata.store import BoldReader

READ_AHEAD = 4  # batches


class Batch(NamedTuple):
    """Samples, their BOLD (n, frames, vertices) as stored, on the device, and what came with them.

    ``stored`` is valid until the next batch is asked for: its memory is used again.
    """

    samples: np.ndarray
    stored: Tensor
    note: Any


class Stream:
    """Iterates over batches of windows while a thread reads the next ones.

    Parameters
    ----------
    batches : pairs of samples (`simtrain.windows.SAMPLE`) and anything that is to come along with them
    size : the largest number of samples in a batch

    Attributes
    ----------
    waited : s, time that the consumer spent waiting for data
    """

    def __init__(
        self,
        reader: BoldReader,
        batches: Iterable[tuple[np.ndarray, Any]],
        *,
        size: int,
        frames: int,
        device: torch.device,
    ) -> None:
        self.waited = 0.0
        self._reader, self._batches, self._frames, self._device = reader, batches, frames, device
        dtype = torch.from_numpy(np.empty(0, reader.dtype)).dtype
        shape = (size, frames, reader.shape[-1])
        self._free: Queue[tuple[Tensor, torch.cuda.Event | None]] = Queue()
        for _ in range(READ_AHEAD):
            self._free.put((torch.empty(shape, dtype=dtype, pin_memory=device.type == "cuda"), None))
        self._ready: Queue[tuple[np.ndarray, Tensor, Any] | Exception | None] = Queue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read_ahead, name="simtrain-stream", daemon=True)

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def __iter__(self) -> Iterator[Batch]:
        while True:
            began = time.perf_counter()
            item = self._ready.get()
            self.waited += time.perf_counter() - began
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            samples, buffer, note = item
            yield Batch(samples, buffer[: len(samples)].to(self._device, non_blocking=True), note)
            self._free.put((buffer, self._copied()))

    def _copied(self) -> torch.cuda.Event | None:
        """An event behind the copy to the device; on a CPU there is no copy, and the consumer is done."""
        if self._device.type != "cuda":
            return None
        event = torch.cuda.Event()
        event.record()
        return event

    def _read_ahead(self) -> None:
        try:
            for samples, note in self._batches:
                buffer = self._next_buffer()
                if buffer is None:
                    return
                index = np.stack(
                    [samples[axis] for axis in ("subject", "movie", "second", "hemisphere")], axis=1
                )
                self._reader.read(index, self._frames, out=buffer.numpy()[: len(samples)])
                self._ready.put((samples, buffer, note))
            self._ready.put(None)
        except Exception as error:  # the consumer raises it
            self._ready.put(error)

    def _next_buffer(self) -> Tensor | None:
        """A buffer that nobody reads any more; None once the stream is closed."""
        while not self._stop.is_set():
            try:
                buffer, copied = self._free.get(timeout=0.1)
            except Empty:
                continue
            if copied is not None:
                copied.synchronize()
            return buffer
        return None
