"""Surface maps as GIFTI files, which Connectome Workbench's wb_view opens on the mesh of the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiMetaData

from simdata.meshes import HEMISPHERES, icosphere
from simtrain.patches import MESH_ORDER

STRUCTURES = dict(zip(HEMISPHERES, ("CortexLeft", "CortexRight"), strict=True))


def write_series(path: Path, values: np.ndarray, hemisphere: str) -> None:
    """Write (frames, vertices) as a func.gii: a float32 array of intent TIME_SERIES for each frame."""
    frames = [
        GiftiDataArray(frame.astype(np.float32), "NIFTI_INTENT_TIME_SERIES", "NIFTI_TYPE_FLOAT32")
        for frame in values
    ]
    _save(path, frames, {"AnatomicalStructurePrimary": STRUCTURES[hemisphere]})


def write_sphere(path: Path, hemisphere: str) -> None:
    """Write the sphere of a hemisphere as the store has it, normals outward, as a surf.gii."""
    vertices, faces = icosphere(MESH_ORDER)
    if hemisphere == "R":
        # Mirrored, as vertex i of R is the mirror of vertex i of L; that turns the faces over.
        vertices, faces = vertices * [-1, 1, 1], faces[:, [1, 0, 2]]
    meta = {"AnatomicalStructurePrimary": STRUCTURES[hemisphere], "GeometricType": "Spherical"}
    points = GiftiDataArray(
        vertices.astype(np.float32), "NIFTI_INTENT_POINTSET", "NIFTI_TYPE_FLOAT32", meta=GiftiMetaData(meta)
    )
    triangles = GiftiDataArray(faces.astype(np.int32), "NIFTI_INTENT_TRIANGLE", "NIFTI_TYPE_INT32")
    _save(path, [points, triangles], meta)


def _save(path: Path, arrays: list[GiftiDataArray], meta: dict[str, str]) -> None:
    GiftiImage(darrays=arrays, meta=GiftiMetaData(meta)).to_filename(path)
