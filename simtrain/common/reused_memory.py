"""Tensors on the CPU whose memory is used again once nothing refers to it.

A batch of patches is tens of megabytes, which the C library takes from the system and gives back each time:
the system then fills it with zeros, page by page, at several times the price of writing the patches.
"""

from __future__ import annotations

import weakref
from collections import defaultdict

import numpy as np
import torch
from torch import Tensor


class Recycled:
    """Hands out float32 tensors; each has memory of its own until it, and all that is made of it, is gone.

    That includes what autograd keeps for a backward pass: the memory returns when torch drops the last
    reference to the storage, and not before.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[np.ndarray]] = defaultdict(list)

    def empty(self, *shape: int) -> Tensor:
        size = int(np.prod(shape))
        free = self._free[size]
        memory = free.pop() if free else np.empty(size, np.float32)
        # torch keeps this array, which nobody else has, as long as the storage that it makes of it.
        lent = memory.reshape(shape)
        weakref.finalize(lent, free.append, memory).atexit = False
        return torch.from_numpy(lent)
