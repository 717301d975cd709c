"""Making the next item in a thread while this one is used."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from queue import Full, Queue
from typing import TypeVar, cast

Item = TypeVar("Item")


def read_ahead(items: Iterable[Item], depth: int = 1) -> Generator[Item]:
    """The items in order, up to ``depth`` of them ready before they are asked for.

    An exception in ``items`` is raised where it would have come. Closing the iterator stops the thread.
    """
    ready: Queue[tuple[Item | None, BaseException | None]] = Queue(depth)
    stop = threading.Event()

    def put(entry: tuple[Item | None, BaseException | None]) -> bool:
        while not stop.is_set():
            try:
                ready.put(entry, timeout=0.1)
            except Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((None, StopIteration()))
        except BaseException as error:  # the consumer raises it
            put((None, error))

    thread = threading.Thread(target=work, name="simdata-read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield cast(Item, item)  # None stands beside an error only, unless it is an item
    finally:
        stop.set()
        thread.join()
