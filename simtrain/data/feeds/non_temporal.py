"""Copies of windows past the cache.

A processor reads what it is about to overwrite, unless it is told that whole lines will be written and are
not needed soon (non-temporal stores, as the C library's memcpy uses for large blocks, but not for the 120 kB
of a window). Without that reading a third of the traffic is gone. A batch is read again by the GPU's copy
engine, or after many others on a CPU: it would not stay in the cache in any case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from simdata.common.jit import compiled

if TYPE_CHECKING:
    from numba.core.base import BaseContext
    from numba.core.typing import Context, Signature

    Intrinsic = tuple[Signature, Callable[[BaseContext, ir.IRBuilder, Signature, list[ir.Value]], ir.Value]]

LINE = 64  # bytes
VECTOR = 32


def copy_windows(rows: np.ndarray, first: np.ndarray, out: np.ndarray) -> None:
    """Copy stretches of consecutive rows: ``out[i]`` becomes those from ``first[i]`` on.

    Parameters
    ----------
    rows : (n, bytes) uint8, C-contiguous
    first : (windows,) int64; all that is asked for must be within ``rows``
    out : (windows, bytes of a window) uint8, C-contiguous
    """
    starts = first * rows.shape[1]
    _copy(rows.reshape(-1), starts, out.reshape(-1), out.shape[1], -out.ctypes.data % LINE)


@compiled
def _copy(source: np.ndarray, starts: np.ndarray, target: np.ndarray, size: int, aligned: int) -> None:
    """``aligned`` : the first position of ``target`` at which a line begins."""
    for window in range(len(starts)):
        start, written = starts[window], window * size
        head = min((aligned - written) % LINE, size)
        for byte in range(head):
            target[written + byte] = source[start + byte]
        done = head
        while done + LINE <= size:
            to, first = written + done, start + done
            _copy_line(target, to, source, first)  # type: ignore[call-arg, arg-type]  # numba gives it types
            done += LINE
        for byte in range(done, size):
            target[written + byte] = source[start + byte]
    _finish()  # type: ignore[call-arg]  # numba gives typing


@intrinsic
def _copy_line(
    typing: Context, target: types.Array, to: types.Integer, source: types.Array, start: types.Integer
) -> Intrinsic:
    """Copy ``LINE`` bytes to an aligned place, past the cache."""

    def generate(
        context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: list[ir.Value]
    ) -> ir.Value:
        arrays, places = arguments[::2], arguments[1::2]
        kinds = signature.args[::2]
        data = [
            context.make_array(kind)(context, builder, array).data
            for kind, array in zip(kinds, arrays, strict=True)
        ]
        vector = ir.VectorType(ir.IntType(64), VECTOR // 8).as_pointer()
        one = ir.Constant(ir.IntType(32), 1)
        passing = builder.module.add_metadata([one])
        for part in range(0, LINE, VECTOR):
            offset = ir.Constant(ir.IntType(64), part)
            there, here = (
                builder.bitcast(builder.gep(base, [builder.add(place, offset)]), vector)
                for base, place in zip(data, places, strict=True)
            )
            store = builder.store(builder.load(here, align=1), there, align=VECTOR)
            store.set_metadata("nontemporal", passing)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp), generate


@intrinsic
def _finish(typing: Context) -> Intrinsic:
    """Let no other thread see what comes after the copies before it sees them."""

    def generate(
        context: BaseContext, builder: ir.IRBuilder, signature: Signature, arguments: list[ir.Value]
    ) -> ir.Value:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate
