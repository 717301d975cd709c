"""Maps of the cortex that a user brings: dscalar.nii, or GIFTI of one hemisphere each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.parsers.expat import ExpatError

import nibabel as nib
import numpy as np
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, ScalarAxis
from nibabel.filebasedimages import ImageFileError
from nibabel.gifti import GiftiImage

from simdata.common.errors import UserError
from simdata.surface.structures import IN_CIFTI, hemisphere_of


@dataclass(frozen=True)
class CorticalMaps:
    """Maps of one hemisphere or both.

    Attributes
    ----------
    names : of the maps
    values : of each hemisphere that there is, (maps, vertices) float64, NaN where there is no data
    """

    names: list[str]
    values: dict[str, np.ndarray]

    def chosen(self, wanted: Sequence[str], source: object) -> CorticalMaps:
        """Those of these names, in the order of the file; all if none is wanted.

        Raises
        ------
        UserError
            If there is none of a name.
        """
        if not wanted:
            return self
        if unknown := [name for name in wanted if name not in self.names]:
            raise UserError(f"{source}: has no map {unknown[0]!r}; it has: {', '.join(self.names)}")
        rows = [row for row, name in enumerate(self.names) if name in wanted]
        values = {hemisphere: of_side[rows] for hemisphere, of_side in self.values.items()}
        return CorticalMaps([self.names[row] for row in rows], values)


def read_maps(paths: Sequence[Path]) -> CorticalMaps:
    """The maps of a dscalar.nii, or of a func.gii or shape.gii of one hemisphere, or of one of each.

    A dscalar.nii lists the vertices that have data. GIFTI has all, so those with 0 (or NaN) in every map of
    the file are taken to have none, as HCP and we write what lies outside the cortex.

    Raises
    ------
    UserError
        If a file is of another kind, two are of one hemisphere, or they have different maps.
    """
    names: list[str] = []
    values: dict[str, np.ndarray] = {}
    for path in paths:
        found = _read(path)
        if twice := found.values.keys() & values.keys():
            raise UserError(
                f"{path}: {', '.join(sorted(twice))} is given twice; give one file of L, one of R"
            )
        if names and len(names) != len(found.names):
            raise UserError(
                f"{path}: has {len(found.names)} maps, and {paths[0]} has {len(names)}: both hemispheres' "
                "files must have the same"
            )
        names = names or found.names
        values |= found.values
    return CorticalMaps(names, values)


def _read(path: Path) -> CorticalMaps:
    try:
        image = nib.load(path)
    except (ImageFileError, ExpatError, OSError) as error:
        raise UserError(f"{path}: cannot be read as maps ({error})") from None
    if isinstance(image, Cifti2Image):
        kinds = (ScalarAxis, BrainModelAxis)
        axes = [image.header.get_axis(row) for row in range(image.header.number_of_mapped_indices)]
        if all(isinstance(axis, kind) for axis, kind in zip(axes, kinds, strict=False)):
            return _of_cifti(image)
    elif isinstance(image, GiftiImage) and not image.labeltable.labels:
        shapes = {array.data.shape for array in image.darrays}
        if len(shapes) == 1 and len(shapes.pop()) == 1:
            return _of_gifti(image, path)
    raise UserError(f"{path}: is no file of maps of the cortex: give a dscalar.nii, func.gii or shape.gii")


def _of_cifti(image: Cifti2Image) -> CorticalMaps:
    scalars, models = image.header.get_axis(0), image.header.get_axis(1)
    data = np.asarray(image.dataobj, dtype=np.float64)
    hemispheres = {structure: hemisphere for hemisphere, structure in IN_CIFTI.items()}
    values = {}
    for structure, rows, model in models.iter_structures():
        if structure in hemispheres:
            whole = np.full((len(data), models.nvertices[structure]), np.nan)
            whole[:, model.vertex] = data[:, rows]
            values[hemispheres[structure]] = whole
    return CorticalMaps(list(scalars.name), values)


def _of_gifti(image: GiftiImage, path: Path) -> CorticalMaps:
    values = np.stack([array.data.astype(np.float64) for array in image.darrays])
    values[:, (np.nan_to_num(values) == 0).all(axis=0)] = np.nan
    names = [array.meta.get("Name") or f"{path.name} {row}" for row, array in enumerate(image.darrays)]
    return CorticalMaps(names, {hemisphere_of(image, path): values})
