"""What a feed gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor

Asked = Iterable[tuple[np.ndarray, Any]]
LONG = 16  # s: of windows that are no longer, as many as wanted are looked at together


def torch_type(dtype: np.dtype) -> torch.dtype:
    """torch's name of a stored type."""
    return torch.from_numpy(np.empty(0, dtype)).dtype


def at_once(windows: int, frames: int) -> int:
    """How many windows to look at together: of long ones as many as take no more memory than of 16 s."""
    return max(1, windows * LONG // max(LONG, frames))


class Batch(NamedTuple):
    """Samples, their BOLD (n, frames, vertices) as stored, on the device, and what came with them.

    ``stored`` is valid until the next batch is asked for: its memory is used again.
    """

    samples: np.ndarray
    stored: Tensor
    note: Any


class Batches(AbstractContextManager["Batches"], Protocol):
    """One pass over batches, within a ``with``.

    Attributes
    ----------
    waited : s, time that the consumer spent waiting for data
    """

    waited: float

    def __enter__(self) -> Self: ...

    def __iter__(self) -> Iterator[Batch]: ...


class Feed(Protocol):
    """A place that windows come from."""

    name: str

    def batches(self, asked: Asked, size: int) -> Batches:
        """The windows of batches, in their order.

        Parameters
        ----------
        asked : pairs of samples (`simtrain.data.windows.SAMPLE`) and anything that is to come along with them
        size : the largest number of samples in a batch
        """
        ...
