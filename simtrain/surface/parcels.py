"""The mean of a map over the parcels of an atlas that the user brings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from simdata.common.errors import UserError
from simdata.surface.atlas import NO_PARCEL, Parcels, read_atlas


def read_parcels(paths: Sequence[Path], vertices: int) -> dict[str, Parcels]:
    """Parcels of each hemisphere, as `simdata.surface.atlas.read_atlas` has them, on the mesh of maps.

    Parameters
    ----------
    vertices : of a hemisphere's mesh

    Raises
    ------
    UserError
        If a file is of another kind or mesh.
    """
    found = read_atlas(paths)
    for hemisphere, parcels in found.items():
        if len(parcels.keys) != vertices:
            raise UserError(
                f"{', '.join(map(str, paths))}: {hemisphere} has {len(parcels.keys)} vertices, and the maps "
                f"have {vertices}: choose the `mesh` that the parcels are on"
            )
    return found


class Row(TypedDict):
    """A parcel of a hemisphere, of so many vertices with data, and their mean and highest value."""

    hemisphere: str
    parcel: str
    vertices: int
    mean: float
    max: float


def table(values: Mapping[str, np.ndarray], parcels: Mapping[str, Parcels]) -> list[Row]:
    """A row for each parcel with data, the highest mean first.

    Parameters
    ----------
    values : of each hemisphere (vertices,) float, NaN outside the cortex
    """
    rows: list[Row] = []
    for hemisphere, parcel, vertices in _areas(values, parcels):
        own = values[hemisphere][vertices]
        rows.append(
            {
                "hemisphere": hemisphere,
                "parcel": parcel,
                "vertices": len(own),
                "mean": float(own.mean()),
                "max": float(own.max()),
            }
        )
    return sorted(rows, key=lambda row: -row["mean"])


def means(values: Mapping[str, np.ndarray], parcels: Mapping[str, Parcels]) -> dict[str, np.ndarray]:
    """(maps,) float64: the mean of each map over each parcel with data, by its full name, such as ``L V1``.

    Parameters
    ----------
    values : of each hemisphere (maps, vertices) float, NaN where a map says nothing; a map that has no value
        in a parcel has NaN
    """
    anywhere = {
        hemisphere: np.where(np.isnan(maps).all(axis=0), np.nan, 0) for hemisphere, maps in values.items()
    }
    return {
        f"{hemisphere} {parcel}": _mean(values[hemisphere][:, vertices])
        for hemisphere, parcel, vertices in _areas(anywhere, parcels)
    }


def _mean(values: np.ndarray) -> np.ndarray:
    """(maps,) float64, over vertices that have a value; NaN where none has."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0).sum(axis=1, dtype=np.float64)
    return np.where(count, total / np.where(count, count, 1), np.nan)


def _areas(
    values: Mapping[str, np.ndarray], parcels: Mapping[str, Parcels]
) -> Iterator[tuple[str, str, np.ndarray]]:
    """The hemisphere, the name and the vertices with data of each parcel that has any."""
    for hemisphere, of_side in parcels.items():
        inside = ~np.isnan(values[hemisphere])
        for key in np.unique(of_side.keys[inside]):
            if key != NO_PARCEL:
                yield hemisphere, of_side.names[int(key)], np.flatnonzero(inside & (of_side.keys == key))
