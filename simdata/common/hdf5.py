"""What arrays an HDF5 file holds. h5py is of an extra."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from simdata.common.errors import UserError
from simdata.common.faults import of_source

INSIDE = "::"  # between the path of a file and the name of an array in it
ENDINGS = (".h5", ".hdf5")


def h5py() -> Any:
    """The module, which has no types.

    Raises
    ------
    UserError
        If it is not installed.
    """
    try:
        import h5py as module
    except ImportError:
        raise UserError("reading HDF5 needs h5py: pip install 'simdata[encoders]'") from None
    return module


def arrays_in(path: Path) -> list[str]:
    """Names of the arrays in a file, those in groups behind their groups' names.

    Raises
    ------
    UserError
        If it cannot be read, or h5py is not installed.
    """
    return _arrays_in(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _arrays_in(path: Path, mtime_ns: int) -> list[str]:
    kinds = h5py()
    found: list[str] = []
    with of_source(path), kinds.File(path, "r") as file:
        file.visititems(lambda name, one: found.append(name) if isinstance(one, kinds.Dataset) else None)
    return sorted(found)
