"""Work on the samples of a batch shared among threads of Python, for code that releases the lock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise


def in_parts(work: Callable[[slice], object], count: int, threads: int) -> None:
    """Call ``work`` with slices that together are ``range(count)``, in as many threads as there are slices.

    The caller's own thread is one of them. An error of any is raised when all are done.
    """
    threads = max(1, min(threads, count))
    bounds = [count * part // threads for part in range(threads + 1)]
    own, *others = (slice(*pair) for pair in pairwise(bounds))
    running = [_helpers(threads - 1).submit(work, part) for part in others]
    try:
        work(own)
    finally:
        errors = [future.exception() for future in running]
    for error in errors:
        if error is not None:
            raise error


@lru_cache(None)
def _helpers(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="simtrain")
