"""Parcels of the cortex in files: dlabel.nii, label.gii of one hemisphere each, FreeSurfer's annot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.parsers.expat import ExpatError

import nibabel as nib
import numpy as np
from nibabel.cifti2 import Cifti2Image, LabelAxis
from nibabel.filebasedimages import ImageFileError
from nibabel.freesurfer import read_annot
from nibabel.gifti import GiftiImage

from simdata.common.errors import UserError
from simdata.common.faults import in_words
from simdata.surface.meshes import MESH_VERTICES, icosphere_vertices
from simdata.surface.registration import ORDER
from simdata.surface.resampling import Corners, cortex_weights
from simdata.surface.structures import IN_CIFTI, hemisphere_of

NO_PARCEL = 0  # "???" of Workbench's label files
KINDS = "a dlabel.nii, or of each hemisphere a label.gii or an annot"
STORED = f"ico{ORDER}"
# Without fs_LR 164k, which has no formula.
MESHES = {STORED: icosphere_vertices(ORDER)} | {n: size for n, size in MESH_VERTICES.items() if n != "164k"}
FREESURFER = ".annot"


@dataclass(frozen=True)
class Parcels:
    """Of a hemisphere: a key for each vertex, (vertices,) int, and the name of each key."""

    keys: np.ndarray
    names: dict[int, str]


def read_atlas(paths: Sequence[Path]) -> dict[str, Parcels]:
    """Parcels of each hemisphere that the files have; the first map of a file counts.

    Raises
    ------
    UserError
        If a file is of another kind or broken, or a vertex has a key without a name.
    """
    found: dict[str, Parcels] = {}
    for path in paths:
        for hemisphere, parcels in _read(path).items():
            if nameless := sorted(set(np.unique(parcels.keys).tolist()) - {NO_PARCEL, *parcels.names}):
                listed = ", ".join(map(str, nameless))
                raise UserError(f"{path}: {hemisphere} has keys without a name in its table: {listed}")
            found[hemisphere] = parcels
    return found


def mesh_of(path: Path, vertices: int) -> str | None:
    """The mesh of an atlas, by its number of vertices; None if that does not tell.

    Annots are on fsaverage's. Others with as many vertices as fsaverage6 are on ico6; those with as many as
    fsaverage7 may be on fs_LR 164k.
    """
    freesurfer = path.name.endswith(FREESURFER)
    of_kind = [name for name in MESHES if freesurfer == name.startswith("fsaverage")]
    others = [] if freesurfer else ["fsaverage5"]
    return next((name for name in (*of_kind, *others) if MESHES[name] == vertices), None)


def on_stored_mesh(parcels: Parcels, mesh: str, hemisphere: str) -> Parcels:
    """The parcels of a hemisphere on the mesh of a store, ico6.

    A vertex has the key with the largest barycentric weight in the triangle that it lies in, as Connectome
    Workbench's ``-label-resample BARYCENTRIC``.

    Parameters
    ----------
    mesh : that the parcels are on, one of ``MESHES``
    """
    if mesh == STORED:
        return parcels
    corners = Corners.of(cortex_weights(mesh, hemisphere, np.arange(MESHES[mesh])))
    keys = parcels.keys[corners.rows]
    same = keys[:, :, None] == keys[:, None, :]
    largest = (same * corners.weights[:, None, :]).sum(axis=2).argmax(axis=1)
    return Parcels(keys[np.arange(len(keys)), largest], parcels.names)


def _read(path: Path) -> dict[str, Parcels]:
    if path.name.endswith(FREESURFER):
        return _of_annot(path)
    try:
        image = nib.load(path)
    except (ImageFileError, ExpatError, OSError) as error:
        raise UserError(f"{path}: cannot be read as a file of parcels ({error})") from None
    if isinstance(image, GiftiImage) and image.labeltable.labels and image.darrays:
        keys = image.darrays[0].data.astype(int).ravel()
        return {hemisphere_of(image, path): Parcels(keys, image.labeltable.get_labels_as_dict())}
    if isinstance(image, Cifti2Image) and isinstance(image.header.get_axis(0), LabelAxis):
        return _of_cifti(image)
    raise UserError(f"{path}: is no file of parcels: give {KINDS}")


def _of_cifti(image: Cifti2Image) -> dict[str, Parcels]:
    labels, models = image.header.get_axis(0), image.header.get_axis(1)
    names = {key: name for key, (name, _) in labels.label[0].items()}
    keys = np.asarray(image.dataobj[0]).astype(int)
    hemispheres = {structure: hemisphere for hemisphere, structure in IN_CIFTI.items()}
    found = {}
    for structure, rows, model in models.iter_structures():
        if structure in hemispheres:
            whole = np.full(models.nvertices[structure], NO_PARCEL)
            whole[model.vertex] = keys[rows]
            found[hemispheres[structure]] = Parcels(whole, names)
    return found


def _of_annot(path: Path) -> dict[str, Parcels]:
    """FreeSurfer's annotation: only its name says which hemisphere; keys are its table's places + 1."""
    sides = {"lh.": "L", "rh.": "R"}
    if path.name[:3] not in sides:
        raise UserError(f"{path}: its name must begin with lh. or rh., which says its hemisphere")
    try:
        with path.open("rb") as file:
            vertices = int.from_bytes(file.read(4), "big")
        if 8 * vertices > path.stat().st_size:
            raise ValueError(f"its {vertices:,} vertices are not all there")
        keys, _, names = read_annot(path)
    except Exception as error:  # what it stumbles over is not said by its kind
        raise UserError(f"{path}: cannot be read as a file of parcels ({in_words(error)})") from None
    return {
        sides[path.name[:3]]: Parcels(
            keys.astype(int) + 1,
            {place + 1: name.decode(errors="replace") for place, name in enumerate(names)},
        )
    }
