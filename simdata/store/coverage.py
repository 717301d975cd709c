"""Which cortex the runs of a store share: one rule, whatever the order in which they were built.

* The *reference* is the vertices that have data in at least half of the complete runs.
* A run that lacks more than ``PARTIAL`` of the reference in a hemisphere is *partial*: its field of view was
  small, or it is damaged. It does not narrow the cortex; its vertices without data are missing in ``bold``.
* ``cortex`` is the part of the reference in which all other runs have data.

HCP's own medial walls differ between 59k and 32k meshes by 0.16 % of a hemisphere: a sixth of what makes a
run partial.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import zarr

from simdata.common.errors import DamagedStore
from simdata.common.faults import in_words
from simdata.store.arrays import array_of, values_of
from simdata.store.schema import COMPLETE
from simdata.surface.meshes import HEMISPHERES

PARTIAL = 0.01  # of the reference, in a hemisphere
NOTICEABLE = 0.001  # of the reference, that a run alone takes from the cortex
SMALL = 0.8  # of the mesh: cortex without the medial wall is .92 of it

Run = tuple[int, int]  # positions of subject and movie


@dataclass(frozen=True)
class Coverage:
    """What the rule gives.

    Attributes
    ----------
    cortex : (hemisphere, vertex) bool, or (1, parcel)
    partial : by run, the shares of the reference that it has in each hemisphere
    narrowing : by run, how many vertices the cortex would have more without it, where that is much
    """

    cortex: np.ndarray
    partial: dict[Run, tuple[float, ...]]
    narrowing: dict[Run, int]

    def in_words(
        self, subjects: list[str], movies: list[str], hemispheres: Sequence[str] = HEMISPHERES
    ) -> dict[str, str]:
        """What is to be said, by its key, of each run that is partial or narrows the cortex noticeably."""
        parcels = len(self.cortex) < len(hemispheres)  # one row for both
        names = ("its parcels",) if parcels else hemispheres
        what = "parcels" if parcels else "vertices"
        said = {
            run: f"has data in {_of_each(shares, names)}, and does not narrow the store's cortex"
            for run, shares in self.partial.items()
        }
        said |= {
            run: f"alone takes {n:,} {what} from the store's cortex" for run, n in self.narrowing.items()
        }
        return {f"{subjects[run[0]]}/{movies[run[1]]}": said[run] for run in sorted(said)}

    def small(self) -> list[str]:
        """What is to be said of a cortex that is small because all runs, or a single one, are."""
        if len(self.cortex) == 1:  # parcels, of which any number is right
            return []
        (left, right), mesh = self.cortex.sum(axis=1), self.cortex.shape[1]
        if min(left, right) >= SMALL * mesh:
            return []
        return [
            f"the store's cortex is small: {left:,} vertices of L and {right:,} of R, of {mesh:,}; "
            "its runs cover no more (`simdata info` has what was found in each)"
        ]


def covered(group: zarr.Group) -> dict[Run, bytes]:
    """Where each complete run of a store has data, as `as_bits` says; runs that are alike share it."""
    runs = np.argwhere(values_of(group, "run_status") == COMPLETE).tolist()
    known: dict[bytes, bytes] = {}
    inside = {}
    for subject, movie in runs:
        bits = as_bits(_has_data(array_of(group, "bold_mean"), subject, movie))
        inside[subject, movie] = known.setdefault(bits, bits)
    return inside


def _has_data(mean: zarr.Array, subject: int, movie: int) -> np.ndarray:
    """(hemisphere, vertex) bool, or (1, parcel)."""
    try:
        return ~np.isnan(np.atleast_2d(mean[subject, movie]))
    except Exception as error:  # codecs raise what they like
        key = mean.metadata.encode_chunk_key((subject, movie, *(0 for _ in mean.shape[2:])))
        raise DamagedStore(
            f"{mean.store_path}/{key}: cannot be read ({in_words(error)}). Remove this file, and give the "
            "command of `simdata build` again: it converts the run again"
        ) from error


def as_bits(inside: np.ndarray) -> bytes:
    """(hemisphere, vertex) bool as bits, a hemisphere's rounded up to whole bytes."""
    return np.packbits(inside, axis=1).tobytes()


def settle(inside: Mapping[Run, bytes], vertices: int) -> Coverage:
    """Apply the rule to the bits of all complete runs, of which there is at least one.

    Most runs of a data set have data in the same vertices: each kind is looked at once.
    """
    kinds = {bits: (_rows(bits, vertices), number) for bits, number in Counter(inside.values()).items()}
    votes = sum(
        np.unpackbits(rows, axis=1, count=vertices).astype(np.int32) * number
        for rows, number in kinds.values()
    )
    in_reference = np.asarray(2 * votes >= len(inside))
    reference, size = np.packbits(in_reference, axis=1), np.maximum(in_reference.sum(axis=1), 1)
    has = {bits: _count(rows & reference) / size for bits, (rows, _) in kinds.items()}
    partial = {bits: tuple(share.tolist()) for bits, share in has.items() if share.min() < 1 - PARTIAL}
    lacking = {bits: reference & ~rows for bits, (rows, _) in kinds.items() if bits not in partial}
    once, twice = np.zeros_like(reference), np.zeros_like(reference)
    for bits, lacks in lacking.items():
        twice |= lacks if kinds[bits][1] > 1 else once & lacks
        once |= lacks
    several = sum(kinds[bits][1] for bits in lacking) > 1
    alone = {bits: int(_count(lacks & ~twice).sum()) for bits, lacks in lacking.items()} if several else {}
    narrowing = {bits: count for bits, count in alone.items() if count > NOTICEABLE * size.sum()}
    cortex = np.unpackbits(reference & ~once, axis=1, count=vertices).astype(bool)
    return Coverage(
        cortex,
        {run: partial[bits] for run, bits in inside.items() if bits in partial},
        {run: narrowing[bits] for run, bits in inside.items() if bits in narrowing},
    )


def _of_each(shares: Sequence[float], hemispheres: Sequence[str]) -> str:
    return " and ".join(f"{share:.1%} of {name}" for share, name in zip(shares, hemispheres, strict=True))


def _rows(bits: bytes, vertices: int) -> np.ndarray:
    return np.frombuffer(bits, np.uint8).reshape(-1, -(-vertices // 8))


def _count(bits: np.ndarray) -> np.ndarray:
    """Ones in each row."""
    return np.bitwise_count(bits).sum(axis=1, dtype=np.int64)
