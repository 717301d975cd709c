"""Which of the processes of a training this is: without torchrun the only one, and torch is not imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def joined() -> Iterator[None]:
    """Within it, the processes that torchrun started are connected; without torchrun there is one."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    import torch

    # What is on the CPU goes over gloo beside NCCL, so that the device need not wait for it.
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def size() -> int:
    """How many processes there are."""
    group = _group()
    return group.get_world_size() if group else 1


def rank() -> int:
    """Which of them this is; 0 writes what is to be written."""
    group = _group()
    return group.get_rank() if group else 0


def _group() -> Any:
    """torch.distributed, if processes are connected."""
    module = sys.modules.get("torch.distributed")
    return module if module is not None and module.is_initialized() else None
