"""Work on the samples of a batch shared among threads of Python, for code that releases the lock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise


class Team:
    """The caller's thread and ``size - 1`` others, which wait for work until the team is closed."""

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        self._others = ThreadPoolExecutor(max(1, size - 1), thread_name_prefix=f"simtrain-{name}")

    def share(self, work: Callable[[slice], object], count: int) -> None:
        """Call ``work`` with slices that together are ``range(count)``, one in each thread.

        Returns, or raises what one of them raised, when all are done.
        """
        threads = max(1, min(self.size, count))
        own, *others = (
            slice(*ends) for ends in pairwise(count * part // threads for part in range(threads + 1))
        )
        running = [self._others.submit(work, part) for part in others]
        try:
            work(own)
        finally:
            errors = [future.exception() for future in running]
        for error in filter(None, errors):
            raise error

    def close(self) -> None:
        self._others.shutdown()
