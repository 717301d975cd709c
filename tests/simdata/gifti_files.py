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


def save_series(
    path: Path,
    values: np.ndarray,
    hemisphere: str,
    *,
    tr: float | None = 1.0,
    encoding: str = "GIFTI_ENCODING_B64GZ",
    endian: str = "GIFTI_ENDIAN_LITTLE",
    intent: str = "NIFTI_INTENT_TIME_SERIES",
) -> Path:
    """(vertices, volumes) as a data array for each volume, in their own type."""
    dtype = {"f": "FLOAT", "i": "INT", "u": "UINT"}[values.dtype.kind] + str(values.dtype.itemsize * 8)
    image = GiftiImage()
    image.meta["AnatomicalStructurePrimary"] = STRUCTURE[hemisphere]
    for volume in values.T:
        array = GiftiDataArray(np.ascontiguousarray(volume), intent, f"NIFTI_TYPE_{dtype}", encoding, endian)
        if tr is not None:
            array.meta["TimeStep"] = f"{tr:f}"
        image.add_gifti_data_array(array)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(path, mode="force")  # also types that tools write, and the specification has not
    return path


def save_pair(folder: Path, name: str, values: dict[str, np.ndarray], **how: object) -> tuple[Path, Path]:
    """Both hemispheres, in files whose name has {} for L and R."""
    left, right = (save_series(folder / name.format(h), values[h], h, **how) for h in "LR")
    return left, right


def resampled_file(wb_command: str, metric: Path, source: Path, target: Path, hemisphere: str) -> np.ndarray:
    """(volumes, target vertices) of a GIFTI file, as `resampled_by_workbench` does it."""
    finite = np.isfinite(nib.load(metric).darrays[0].data).astype("f4")
    roi, out = metric.with_name("roi.shape.gii"), metric.with_name("out.func.gii")
    save_metric(roi, finite, hemisphere)
    arguments = [metric, source, target, "BARYCENTRIC", out, "-current-roi", roi]
    subprocess.run([wb_command, "-metric-resample", *arguments], check=True, capture_output=True)
    return np.stack([array.data for array in nib.load(out).darrays])
