"""Run one function over many items, here or in dask workers, and yield results as they come."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from simdata.errors import UserError

LEADER = 300 * 2**20  # bytes

Item = TypeVar("Item")
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
        raise UserError(f"--max-memory {have:.0f}MB is too little: one worker needs {least:.0f}MB here")
    return max(1, min(workers, (max_memory - LEADER) // needed))


def execute(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Result | UserError]]:
    """Yield each item with its result, or with the UserError that it raised, in order of completion.

    One worker is this process; more are processes of a local dask cluster, with a few items in flight so
    that a caller who stops early leaves little behind. Any other exception is raised.
    """
    if workers == 1 or len(items) < 2:
        for item in items:
            yield item, _attempt(function, item)
    else:
        yield from _execute_in_cluster(function, items, min(workers, len(items)))


def _attempt(function: Callable[[Item], Result], item: Item) -> Result | UserError:
    try:
        return function(item)
    except UserError as error:
        return error


def _execute_in_cluster(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Result | UserError]]:
    from distributed import Client, LocalCluster, as_completed

    # Dask's own limit counts the mapped pages of a source as ours and would stop a worker for them.
    settings = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None}
    with (
        LocalCluster(n_workers=workers, silence_logs=logging.ERROR, **settings) as cluster,
        Client(cluster) as client,
    ):
        waiting = iter(items)
        item_of = {}

        def submit(item: Item):
            future = client.submit(_attempt, function, item, pure=False)
            item_of[future.key] = item
            return future

        running = as_completed([submit(item) for item in islice(waiting, 2 * workers)])
        for future in running:
            yield item_of.pop(future.key), future.result()
            if (item := next(waiting, None)) is not None:
                running.add(submit(item))
