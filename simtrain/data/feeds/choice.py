"""Which feed to take."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console

from simdata.common.free_memory import host_room
from simtrain.common import distributed, processes
from simtrain.data.collection import ReadsWindows
from simtrain.data.dataset import Dataset
from simtrain.data.feeds.batch import Feed
from simtrain.data.feeds.device import Device
from simtrain.data.feeds.memory import Memory
from simtrain.data.feeds.scans import Scans
from simtrain.data.feeds.stream import Stream

FEEDS = ("device", "memory", "stream")  # from the quickest on
KINDS = ("auto", *FEEDS)
LEFT = 0.1  # of the free memory that is left to others


class Needs(NamedTuple):
    """Bytes of the runs in use, and about what training takes beside them, where it computes."""

    runs: int
    training: int


class Room(NamedTuple):
    """Bytes that are free on the host, and on the GPU; None where training is on the CPU."""

    host: int
    device: int | None


class Choice(NamedTuple):
    kind: str
    reason: str


def open_feed(
    kind: str,
    samples: np.ndarray,
    dataset: Dataset,
    reader: ReadsWindows,
    frames: int,
    device: torch.device,
    training: int,
    console: Console,
) -> Feed:
    """A feed of one of ``KINDS``, with a line about the choice; the same in all processes.

    Parameters
    ----------
    samples : (n,) SAMPLE, all that will be asked for, but for their seconds
    training : bytes that training takes beside the data, about

    Raises
    ------
    UserError
        If the runs do not fit where they were asked to be.
    """
    runs = Scans(samples, dataset, reader)
    room = Room(host_room(), torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None)
    needs = Needs(runs.nbytes, training)
    if kind == "auto":
        kind, reason = _agreed(choose(needs, room))
        console.print(f"feed: {kind} ({reason})", soft_wrap=True, highlight=False)
    else:
        distributed.must_suit_all(_problem(kind, needs, room))
    if kind == "stream":
        return Stream(reader, frames, device)
    with console.status(f"reading {_gb(runs.nbytes)}"):
        return (Device if kind == "device" else Memory)(runs, frames, device)


def choose(needs: Needs, room: Room) -> Choice:
    """The quickest feed for which there is room.

    Without a GPU, the host's memory is that of the device, and the processes of a machine share it.
    """
    take = f"training and validation take {_gb(needs.runs)}"
    if room.device is None:
        left = int(room.host * (1 - LEFT)) - needs.training
        of = f"of {_gb(room.host)} free, training itself some {_gb(needs.training)}"
        return Choice("memory" if needs.runs <= left else "stream", f"{take} {of}")
    if needs.runs + needs.training <= room.device * (1 - LEFT):
        of = f"of {_gb(room.device)} free on the GPU, training itself some {_gb(needs.training)}"
        return Choice("device", f"{take} {of}")
    enough = needs.runs <= room.host * (1 - LEFT)
    gpu = f"the GPU has {_gb(room.device)}, of which training takes some {_gb(needs.training)}"
    return Choice("memory" if enough else "stream", f"{take} of {_gb(room.host)} free; {gpu}")


def _problem(kind: str, needs: Needs, room: Room) -> str | None:
    """What is wrong with a feed that was asked for."""
    if kind == "stream":
        return None
    if kind == "device" and room.device is not None:
        size, free, where = needs.runs, room.device, "on the GPU"
    else:
        # On a CPU, every process would have runs of its own.
        size = needs.runs * (processes.size() if kind == "device" else 1)
        free, where = room.host, "of memory"
    if size <= free:
        return None
    others = " or ".join(f"`feed` {other}" for other in FEEDS[FEEDS.index(kind) + 1 :])
    return (
        f"`feed` {kind}: the runs of training and validation take {_gb(size)}, and {_gb(free)} {where} are "
        f"free; use {others}"
    )


def _agreed(own: Choice) -> Choice:
    """Of what the processes chose, the choice that suits them all."""
    return max(distributed.gather_objects([own]), key=lambda choice: FEEDS.index(choice.kind))


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size < 99.5e9 else f"{size / 1e9:.0f} GB"
