"""Which values of a run are BOLD, and which run is none.

A vertex that never varies, or has NaN or infinity at any time, has no data: it is outside this run's own
coverage, as the medial wall is. What is wrong with a run as a whole is a UserError: volumes without a picture
in them, a hole that a download left, and too little cortex.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path

import numpy as np

from simdata.bold.opened_run import PARCELS
from simdata.common.errors import UserError
from simdata.common.jit import compiled

FEWEST_PARCELS = 2  # with data: of fewer a frame has no s.d.
FEWEST_VERTICES = 500  # with data in a hemisphere: less than 2 % of a 32k mesh is no cortex
SAMPLED_ROWS = 64  # that say whether a volume is to be looked at in all of them
ROWS_AT_ONCE = 1024
LONG_STRETCH = 16, 10  # volumes of one value at an end of a row: this many, and one in so many
SHORT_STRETCH = {"f": 2, "i": 12, "u": 12}  # those that go on in the next row: chance repeats whole numbers


def stretches(source: np.ndarray, processor: Executor) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) int32 each: how many values at the beginning, and at the end, of a row are the same.

    Rows that never vary have all volumes in both. ``source`` is (rows, volumes) float32.
    """
    source = np.asarray(source)
    first, last = np.empty((2, len(source)), np.int32)
    list(processor.map(lambda some: _stretches(source[some], first[some], last[some]), _blocks(len(source))))
    return first, last


def finite_rows(source: np.ndarray, processor: Executor) -> np.ndarray:
    """(rows,) bool: all values are finite."""
    found = np.empty(len(source), bool)

    def look(some: slice) -> None:
        found[some] = np.isfinite(source[some]).all(axis=1)

    list(processor.map(look, _blocks(len(source))))
    return found


def check_enough(path: Path, hemisphere: str, usable: np.ndarray, constant: int, broken: int) -> None:
    """Raise a UserError if too few rows have data."""
    fewest = FEWEST_PARCELS if hemisphere == PARCELS else FEWEST_VERTICES
    if (left := int(usable.sum())) >= fewest:
        return
    what = rows_of(hemisphere)
    reasons = []
    if constant:
        reasons.append(f"{constant:,} of {len(usable):,} {what} never change their value")
    if broken:
        reasons.append(f"{broken:,} of {len(usable):,} {what} have NaN or infinite values")
    why = ", ".join(reasons) or f"the file lists {len(usable):,} {what}"
    raise UserError(
        f"{path}: {why}: {left:,} have data, and a run needs {fewest}; download it again, or leave it out"
    )


def rows_of(hemisphere: str) -> str:
    """What the rows of a side are, in words."""
    return PARCELS if hemisphere == PARCELS else f"vertices of {hemisphere}"


def check_volumes(path: Path, hemisphere: str, source: np.ndarray, usable: np.ndarray) -> None:
    """Raise a UserError for volumes that are the same everywhere, or the same as the one before.

    A sample of rows says which volumes might be; only those are compared in all rows that have data.
    """
    rows = np.flatnonzero(usable)
    sample = source[rows[:: max(1, len(rows) // SAMPLED_ROWS)]]
    equal = np.flatnonzero((sample == sample[0]).all(axis=0))
    frozen = 1 + np.flatnonzero((sample[:, 1:] == sample[:, :-1]).all(axis=0))
    for some in _blocks(len(rows)):
        if not len(equal) and not len(frozen):
            return
        of_rows = source[rows[some]]
        equal = equal[(of_rows[:, equal] == source[rows[0], equal]).all(axis=0)]
        frozen = frozen[(of_rows[:, frozen] == of_rows[:, frozen - 1]).all(axis=0)]
    if len(equal):
        raise _bad_volumes(
            path, hemisphere, equal, "have one value everywhere", "censored, or a hole in the file"
        )
    if len(frozen):
        raise _bad_volumes(path, hemisphere, frozen, "repeat the volume before them", "padded, or frozen")


def check_no_missing_volumes(path: Path, hemisphere: str, source: np.ndarray) -> None:
    """Raise a UserError for volumes that are NaN in all vertices, if others are not."""
    missing = np.ones(source.shape[1], bool)
    for some in _blocks(len(source)):
        missing &= ~np.isfinite(source[some]).any(axis=0)
    if missing.any() and not missing.all():
        raise _bad_volumes(path, hemisphere, np.flatnonzero(missing), "are NaN everywhere", "censored")


def check_no_hole(
    path: Path,
    hemisphere: str,
    source: np.ndarray,
    stretch: tuple[np.ndarray, np.ndarray],
    usable: np.ndarray,
    stored: str,
) -> None:
    """Raise a UserError if a hole in the file left part of a row with one value.

    Time lies side by side in a file, so a hole that a download left takes some whole rows, which look as if
    they had no data, the end of the row before and the beginning of the row behind.

    Parameters
    ----------
    stored : kind of the file's own numbers, "f", "i" or "u"
    """
    begin, end = stretch
    volumes, few = source.shape[1], SHORT_STRETCH[stored]
    long = max(LONG_STRETCH[0], volumes // LONG_STRETCH[1])
    constant = begin == volumes
    holed = usable & (np.maximum(begin, end) >= long)
    goes_on = source[:-1, -1] == source[1:, 0]
    holed[:-1] |= usable[:-1] & goes_on & constant[1:] & (end[:-1] >= few)
    holed[1:] |= usable[1:] & goes_on & constant[:-1] & (begin[1:] >= few)
    if holed.any():
        row = int(np.flatnonzero(holed)[0])
        at_end = end[row] >= begin[row]
        what = "ends" if at_end else "begins"
        length, value = (end[row], source[row, -1]) if at_end else (begin[row], source[row, 0])
        raise UserError(
            f"{path}: {int(holed.sum()):,} {rows_of(hemisphere)} have one value for part of the run "
            f"(row {row:,} {what} with {length:,} volumes of {value:g}): a hole that a download left? "
            "Download it again; vertices that left the field of view can be given as NaN"
        )


def ranges(numbers: Sequence[int] | np.ndarray) -> str:
    """Ascending numbers in words, such as "3-7, 12"."""
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    parts = [(part[0], part[-1]) for part in np.split(np.asarray(numbers), breaks)]
    words = [f"{first}" if first == last else f"{first}-{last}" for first, last in parts]
    return ", ".join(words[:10]) + (f" and {len(words) - 10} more ranges" if len(words) > 10 else "")


def _bad_volumes(path: Path, hemisphere: str, volumes: np.ndarray, what: str, why: str) -> UserError:
    return UserError(
        f"{path}: volumes {ranges(volumes)} of {hemisphere} (counted from 0) {what}: {why}? Download the run "
        "again, or leave it out"
    )


def _blocks(rows: int) -> Iterator[slice]:
    return (slice(first, first + ROWS_AT_ONCE) for first in range(0, rows, ROWS_AT_ONCE))


@compiled
def _stretches(source: np.ndarray, first: np.ndarray, last: np.ndarray) -> None:
    volumes = source.shape[1]
    for row in range(len(source)):
        series = source[row]
        length = 1
        while length < volumes and series[length] == series[0]:
            length += 1
        first[row] = length
        length = 1
        while length < volumes and series[volumes - 1 - length] == series[volumes - 1]:
            length += 1
        last[row] = length
