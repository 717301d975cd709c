"""Surfaces and maps on them as GIFTI files, which Connectome Workbench's wb_view opens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.parsers.expat import ExpatError

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiMetaData

from simdata.common.errors import UserError
from simdata.surface.meshes import Mesh
from simdata.surface.structures import IN_GIFTI, hemisphere_of
from simtrain.surface.vertices import STORED, sphere


def write_series(path: Path, values: np.ndarray, hemisphere: str) -> None:
    """Write (frames, vertices) as a func.gii: a float32 array of intent TIME_SERIES for each frame."""
    frames = [
        GiftiDataArray(frame.astype(np.float32), "NIFTI_INTENT_TIME_SERIES", "NIFTI_TYPE_FLOAT32")
        for frame in values
    ]
    _save(path, frames, {"AnatomicalStructurePrimary": IN_GIFTI[hemisphere]})


def write_maps(path: Path, maps: Mapping[str, np.ndarray], hemisphere: str) -> None:
    """Write named maps of (vertices,) as a func.gii; NaN becomes 0, HCP's value outside the cortex."""
    arrays = [
        GiftiDataArray(
            np.nan_to_num(values).astype(np.float32),
            "NIFTI_INTENT_NONE",
            "NIFTI_TYPE_FLOAT32",
            meta=GiftiMetaData({"Name": name}),
        )
        for name, values in maps.items()
    ]
    _save(path, arrays, {"AnatomicalStructurePrimary": IN_GIFTI[hemisphere]})


def write_sphere(path: Path, hemisphere: str, mesh: str = STORED) -> None:
    """Write the sphere of a hemisphere, by default as the store has it, normals outward, as a surf.gii."""
    vertices, faces = sphere(mesh, hemisphere)
    meta = {"AnatomicalStructurePrimary": IN_GIFTI[hemisphere], "GeometricType": "Spherical"}
    points = GiftiDataArray(
        vertices.astype(np.float32), "NIFTI_INTENT_POINTSET", "NIFTI_TYPE_FLOAT32", meta=GiftiMetaData(meta)
    )
    triangles = GiftiDataArray(faces.astype(np.int32), "NIFTI_INTENT_TRIANGLE", "NIFTI_TYPE_INT32")
    _save(path, [points, triangles], meta)


def _save(path: Path, arrays: list[GiftiDataArray], meta: dict[str, str]) -> None:
    GiftiImage(darrays=arrays, meta=GiftiMetaData(meta)).to_filename(path)


def read_surface(path: Path) -> tuple[str, Mesh]:
    """The hemisphere of a surf.gii, its vertices (n, 3) and faces (m, 3).

    Raises
    ------
    UserError
        If it is no such file.
    """
    try:
        image = nib.load(path)
    except (ImageFileError, ExpatError, OSError) as error:
        raise UserError(f"{path}: cannot be read as a surface ({error})") from None
    if isinstance(image, GiftiImage):
        points = image.get_arrays_from_intent("NIFTI_INTENT_POINTSET")
        faces = image.get_arrays_from_intent("NIFTI_INTENT_TRIANGLE")
        if points and faces:
            return hemisphere_of(image, path), (points[0].data.astype(float), faces[0].data)
    raise UserError(f"{path}: is no surface: give a surf.gii")
