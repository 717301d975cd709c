"""The mean of a map over the parcels of an atlas that the user brings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict
from xml.parsers.expat import ExpatError

import nibabel as nib
import numpy as np
from nibabel.cifti2 import Cifti2Image, LabelAxis
from nibabel.filebasedimages import ImageFileError
from nibabel.gifti import GiftiImage

from simdata.common.errors import UserError
from simtrain.surface.dscalar import STRUCTURES
from simtrain.surface.gifti import hemisphere_of

NO_PARCEL = 0  # "???" of Workbench's label files


@dataclass(frozen=True)
class Parcels:
    """Of a hemisphere: a key for each vertex, (vertices,) int, and the name of each key."""

    keys: np.ndarray
    names: dict[int, str]


def read_parcels(paths: Sequence[Path], vertices: int) -> dict[str, Parcels]:
    """Parcels of each hemisphere, from a dlabel.nii, or label.gii files of one hemisphere each.

    The first map of a file counts.

    Parameters
    ----------
    vertices : of a hemisphere's mesh

    Raises
    ------
    UserError
        If a file is of another kind or mesh.
    """
    found: dict[str, Parcels] = {}
    for path in paths:
        for hemisphere, parcels in _read(path).items():
            if nameless := sorted(set(np.unique(parcels.keys).tolist()) - {NO_PARCEL, *parcels.names}):
                listed = ", ".join(map(str, nameless))
                raise UserError(f"{path}: {hemisphere} has keys without a name in its table: {listed}")
            if len(parcels.keys) != vertices:
                raise UserError(
                    f"{path}: {hemisphere} has {len(parcels.keys)} vertices, and the maps have {vertices}: "
                    "choose the `mesh` that the parcels are on"
                )
            found[hemisphere] = parcels
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


def _read(path: Path) -> dict[str, Parcels]:
    try:
        image = nib.load(path)
    except (ImageFileError, ExpatError, OSError) as error:
        raise UserError(f"{path}: cannot be read as a file of parcels ({error})") from None
    if isinstance(image, GiftiImage) and image.labeltable.labels:
        keys = image.darrays[0].data.astype(int)
        return {hemisphere_of(image, path): Parcels(keys, image.labeltable.get_labels_as_dict())}
    if isinstance(image, Cifti2Image) and isinstance(image.header.get_axis(0), LabelAxis):
        return _of_cifti(image)
    raise UserError(f"{path}: is no file of parcels: give a dlabel.nii or label.gii")


def _of_cifti(image: Cifti2Image) -> dict[str, Parcels]:
    labels, models = image.header.get_axis(0), image.header.get_axis(1)
    names = {key: name for key, (name, _) in labels.label[0].items()}
    keys = np.asarray(image.dataobj[0]).astype(int)
    hemispheres = {structure: hemisphere for hemisphere, structure in STRUCTURES.items()}
    found = {}
    for structure, rows, model in models.iter_structures():
        if structure in hemispheres:
            whole = np.full(models.nvertices[structure], NO_PARCEL)
            whole[model.vertex] = keys[rows]
            found[hemispheres[structure]] = Parcels(whole, names)
    return found
