"""Which rows of a store's BOLD there are, and of which scan each is: its ``run`` and ``reach``.

A cell is what a subject saw of a movie, and its row s is film second s. In ``run`` k > 0 says that the row is
of the cell's k-th scan, -k that it is and was scrubbed: its value is there, and not to be used. 0 is where
the cell has no row. Rows of one scan less than ``reach`` s apart share volumes, since they were interpolated.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from simdata.common.errors import UserError
from simdata.store.metadata import Metadata
from simdata.store.schema import COMPLETE

RUN, REACH, FILM = "run", "reach", "film"
BEFORE = "2.0"  # the format without them


def run_codes(store: xr.Dataset, place: str | Path) -> np.ndarray:
    """(subject, movie, second) int16, 0 where the cell is not complete.

    A store of format 2.0 has none: there a complete run has a row of one scan for each of its volumes.

    Raises
    ------
    UserError
        If they are not what the format says; ``place`` says of which store.
    """
    complete = (store.run_status.values == COMPLETE)[:, :, None]
    if RUN not in store:
        if Metadata.of(store, place).format_version != BEFORE:
            raise UserError(f"{place}: has lost its variable {RUN!r}, which says what rows it has; keep it")
        rows = np.arange(store.sizes["second"]) < store.volumes.values[:, None]
        return np.where(complete, rows, False).astype(np.int16)
    codes = _checked(store, RUN, ("subject", "movie", "second"), place)
    return np.where(complete, codes, 0).astype(np.int16)


def reaches(store: xr.Dataset, place: str | Path) -> np.ndarray:
    """(movie,) int, in s; 0 in a store of format 2.0.

    Raises
    ------
    UserError
        If they are not what the format says.
    """
    if REACH not in store.variables:
        return np.zeros(store.sizes["movie"], int)
    found = _checked(store, REACH, ("movie",), place).astype(int)
    if (found < 0).any():
        raise UserError(f"{place}: its {REACH} has {found.min()}, and seconds are 0 or more")
    return found


def films(store: xr.Dataset) -> np.ndarray:
    """(movie,) int: the position of the first movie of the store that is the same film."""
    names = store.variables[FILM if FILM in store.variables else "movie"]
    first: dict[str, int] = {}
    return np.array([first.setdefault(name, place) for place, name in enumerate(names.values.tolist())])


def _checked(store: xr.Dataset, name: str, dims: tuple[str, ...], place: str | Path) -> np.ndarray:
    variable = store.variables[name]
    if variable.dims != dims or variable.dtype.kind not in "iu":
        found = f"{variable.dtype} by ({', '.join(map(str, variable.dims))})"
        raise UserError(f"{place}: its {name} is {found}, whole numbers by ({', '.join(dims)}) are needed")
    return variable.values
