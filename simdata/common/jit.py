"""Compiling with numba, once for a machine.

The compiled code is kept on disk, beside its module or, where that cannot be written, in the user's cache. It
releases the interpreter's lock, so that threads of Python can share work: there is no second pool of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.core.dispatcher import Dispatcher

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered (to use vectors) and products fused with sums; NaN and infinity keep their meaning.
REORDERED = {"reassoc", "contract", "nsz"}


def compiled(function: Function) -> Dispatcher[Function]:
    """Compile on the first call, or take what an earlier process compiled."""
    try:
        return numba.njit(function, nogil=True, cache=True, fastmath=REORDERED)
    except RuntimeError:  # nowhere to keep it: every process compiles for itself
        return numba.njit(function, nogil=True, fastmath=REORDERED)
