"""Feeds: where the windows of a batch come from.

* ``device``: the runs lie in the memory of the GPU, where a batch is gathered; only its index travels.
* ``memory``: they lie in the host's memory, once for all processes, and are gathered ahead of training.
* ``stream``: windows are read ahead from the store.

Sampling knows nothing of them: for a given seed all three give the same batches in the same order, and a run
may go on with another feed than it began with, to the same bits.
"""

from simtrain.data.feeds.batch import Batch, Batches, Feed, at_once
from simtrain.data.feeds.choice import KINDS, open_feed
from simtrain.data.feeds.device import Device
from simtrain.data.feeds.memory import Memory
from simtrain.data.feeds.scans import Scans
from simtrain.data.feeds.stream import Stream

__all__ = ["KINDS", "Batch", "Batches", "Device", "Feed", "Memory", "Scans", "Stream", "at_once", "open_feed"]
