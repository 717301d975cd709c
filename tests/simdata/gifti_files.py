"""Real GIFTI files for tests: surfaces, metrics and time series, written by nibabel."""

from __future__ import annotations

import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.gifti import GiftiDataArray, GiftiImage

STRUCTURE = {"L": "CortexLeft", "R": "CortexRight"}


def save_surface(path: Path, vertices: np.ndarray, faces: np.ndarray, hemisphere: str) -> Path:
    points = GiftiDataArray(vertices.astype("f4"), "NIFTI_INTENT_POINTSET", "NIFTI_TYPE_FLOAT32")
    points.meta["AnatomicalStructurePrimary"] = STRUCTURE[hemisphere]
    points.meta["GeometricType"] = "Spherical"
    triangles = GiftiDataArray(np.ascontiguousarray(faces), "NIFTI_INTENT_TRIANGLE", "NIFTI_TYPE_INT32")
    nib.save(GiftiImage(darrays=[points, triangles]), path)
    return path


def save_metric(path: Path, values: np.ndarray, hemisphere: str) -> Path:
    image = GiftiImage(darrays=[GiftiDataArray(values, "NIFTI_INTENT_SHAPE", "NIFTI_TYPE_FLOAT32")])
    image.meta["AnatomicalStructurePrimary"] = STRUCTURE[hemisphere]
    nib.save(image, path)
    return path


def resampled_by_workbench(
    wb_command: str, folder: Path, signal: np.ndarray, source: Path, target: Path, hemisphere: str
) -> np.ndarray:
    """A metric by ``-metric-resample BARYCENTRIC``; NaN has no data, and is 0 in what comes out."""
    roi = save_metric(folder / "roi.shape.gii", np.isfinite(signal).astype("f4"), hemisphere)
    metric = save_metric(folder / "signal.shape.gii", np.nan_to_num(signal).astype("f4"), hemisphere)
    out = folder / "out.shape.gii"
    arguments = [metric, source, target, "BARYCENTRIC", out, "-current-roi", roi]
    subprocess.run([wb_command, "-metric-resample", *arguments], check=True, capture_output=True)
    return nib.load(out).agg_data()
