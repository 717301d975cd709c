"""Memory that the processes of a machine share: filled once, and gone with the last of them."""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from simtrain.common import distributed, processes
from simtrain.data.feeds.batch import torch_type
from simtrain.data.feeds.scans import Scans


def shared_rows(runs: Scans) -> Tensor:
    """The rows of ``runs``, read by all processes of this machine together, each a part.

    The memory has no name that could outlive them: it is freed when the last process ends, killed or not.
    """
    neighbours = _neighbours()
    memory = _anonymous(runs.nbytes) if len(neighbours) == 1 else _common(runs.nbytes, neighbours)
    rows = torch.frombuffer(memory, dtype=torch_type(runs.dtype)).view(runs.shape)
    runs.read_into(rows, neighbours.index(processes.rank()), len(neighbours))
    _wait_for_all()
    return rows


def _neighbours() -> list[int]:
    """The ranks of the processes that see each other's memory, this one among them."""
    machines = distributed.gather_objects([_machine()])
    return [rank for rank, machine in enumerate(machines) if machine == machines[processes.rank()]]


def _machine() -> str:
    """Names this machine until its next start, and the space of process ids in it (a container's own)."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    return f"{boot.read_text()}{space.readlink()}" if boot.exists() else f"{os.uname().nodename}"


def _anonymous(size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)  # windows are all over it, and small pages take looking up
    return memory


def _common(size: int, neighbours: list[int]) -> mmap.mmap:
    """A file in memory without a name: the first process makes it, the others open it by its descriptor."""
    first = neighbours[0]
    offer = ""
    if processes.rank() == first:
        file = os.memfd_create("simtrain-bold")
        os.ftruncate(file, size)
        offer = f"/proc/{os.getpid()}/fd/{file}"
    path = distributed.gather_objects([offer])[first]
    if processes.rank() != first:
        file = os.open(path, os.O_RDWR)
    memory = mmap.mmap(file, size)
    _wait_for_all()
    os.close(file)  # the mapping keeps it
    return memory


def _wait_for_all() -> None:
    distributed.gather_objects([None])
