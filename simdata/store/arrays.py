"""Arrays of a store's group by name: zarr itself says no more than that a name is an array or a group."""

from __future__ import annotations

import numpy as np
import zarr

from simdata.common.errors import UserError


def array_of(group: zarr.Group, name: str) -> zarr.Array:
    """The array ``name`` of a group.

    Raises
    ------
    KeyError
        If there is nothing of that name.
    UserError
        If it is a group.
    """
    found = group[name]
    if not isinstance(found, zarr.Array):
        raise UserError(f"{group.store_path}: its {name} is a group, not an array; copy the store again")
    return found


def values_of(group: zarr.Group, name: str) -> np.ndarray:
    """All that the array ``name`` holds, in memory."""
    return np.asarray(array_of(group, name)[:])


def dimensions_of(array: zarr.Array) -> tuple[str | None, ...]:
    """Names of an array's dimensions; empty if it has none, as in Zarr v2."""
    return getattr(array.metadata, "dimension_names", None) or ()
