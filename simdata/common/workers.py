"""Run one function over many sources, here or in dask workers, and yield results as they come."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from simdata.common.errors import UserError
from simdata.common.faults import of_source

if TYPE_CHECKING:
    from distributed import Future

LEADER = 300 * 2**20  # bytes
CLUSTER = {
    "distributed.scheduler.allowed-failures": 1,  # deaths of a worker that a source survives
    "distributed.scheduler.worker-saturation": 1.0,  # a worker holds one source: no other dies with it
}


class Source(Protocol):
    """An item to work on: a file."""

    @property
    def path(self) -> Path: ...


Item = TypeVar("Item", bound=Source)
Result = TypeVar("Result")


def workers_within(max_memory: int | None, needed: int, workers: int) -> int:
    """As many of ``workers`` as fit in ``max_memory`` bytes when each needs ``needed``.

    One worker is the process itself; of several, this process leads, and takes ``LEADER``.

    Raises
    ------
    UserError
        If not even one fits.
    """
    if max_memory is None:
        return workers
    if max_memory < needed:
        have, least = max_memory / 1e6, needed / 1e6
        raise UserError(f"`max_memory` {have:.0f}MB is too little: one worker needs {least:.0f}MB here")
    return max(1, min(workers, (max_memory - LEADER) // needed))


def execute(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Result | UserError]]:
    """Yield each source with its result, or with a UserError that names it, in order of completion.

    Whatever ``function`` raises is that UserError (`common.faults.of_source`). One worker is this process;
    more are processes of a local dask cluster, with a few items in flight so that a caller who stops early
    leaves little behind. A source on which a process dies is tried once more, in another one.
    """
    if workers == 1 or len(items) < 2:
        for item in items:
            yield item, _attempt(function, item)
    else:
        yield from _execute_in_cluster(function, items, min(workers, len(items)))


def _attempt(function: Callable[[Item], Result], item: Item) -> Result | UserError:
    try:
        with of_source(item.path):
            return function(item)
    except UserError as error:
        return error


def _execute_in_cluster(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Result | UserError]]:
    import dask
    from distributed import Client, LocalCluster, as_completed

    # Dask's own limit counts the mapped pages of a source as ours and would stop a worker for them.
    settings = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None}
    with (
        dask.config.set(CLUSTER),
        LocalCluster(n_workers=workers, silence_logs=logging.ERROR, **settings) as cluster,
        Client(cluster) as client,
    ):
        waiting = iter(items)
        item_of: dict[str, Item] = {}

        def submit(item: Item) -> Future:
            future = client.submit(_attempt, function, item, pure=False)
            item_of[future.key] = item
            return future

        running = as_completed([submit(item) for item in islice(waiting, 2 * workers)])
        for future in running:
            item = item_of.pop(future.key)
            yield item, _outcome(item, future)
            if (following := next(waiting, None)) is not None:
                running.add(submit(following))


def _outcome(item: Item, future: Future) -> Result | UserError:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker:
        return UserError(
            f"{item.path}: the process that converted it was killed, twice. Is there too little memory "
            "(`max_memory`, fewer `workers`), or does reading the file fail?"
        )
