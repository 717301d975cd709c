"""Real CIFTI-2 dense series for tests: small in time, HCP-like in space."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, SeriesAxis
from nibabel.nifti2 import header_dtype

from simdata.surface.meshes import DIVISIONS, fs_lr_sphere

CORTEX = {"L": "CIFTI_STRUCTURE_CORTEX_LEFT", "R": "CIFTI_STRUCTURE_CORTEX_RIGHT"}


def valid_vertices(density: str, hemisphere: str) -> np.ndarray:
    """Vertices outside a round medial wall; the hemispheres' walls differ, as HCP's do."""
    vertices, _ = fs_lr_sphere(density, hemisphere)
    medial = vertices[:, 0] * (1 if hemisphere == "L" else -1)
    return np.flatnonzero(medial < (80 if hemisphere == "L" else 82))


def brain_models(density: str, voxels: int = 50) -> BrainModelAxis:
    axes = [
        BrainModelAxis.from_surface(
            valid_vertices(density, hemisphere), 10 * DIVISIONS[density] ** 2 + 2, name=structure
        )
        for hemisphere, structure in CORTEX.items()
    ]
    mask = np.zeros((20, 20, 20), bool)
    mask.ravel()[:voxels] = True
    axes.append(BrainModelAxis.from_mask(mask, affine=np.eye(4), name="CIFTI_STRUCTURE_THALAMUS_LEFT"))
    return axes[0] + axes[1] + axes[2]


def write_dtseries(
    path: Path,
    data: np.ndarray,
    density: str = "32k",
    step: float = 1.0,
    unit: str = "SECOND",
    models: BrainModelAxis | None = None,
    start: float = 0.0,
) -> Path:
    """Write (volumes, grayordinates) float32 data."""
    series = SeriesAxis(start, step, len(data), unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(Cifti2Image(data.astype(np.float32), header=(series, models or brain_models(density))), path)
    return path


def noise(density: str, volumes: int, seed: int = 0) -> np.ndarray:
    """BOLD-like values: mean some 10,000, s.d. some 150, as (volumes, grayordinates)."""
    rng = np.random.default_rng(seed)
    grayordinates = brain_models(density).size
    baseline = 10_000 + 500 * rng.standard_normal(grayordinates)
    return (baseline + 150 * rng.standard_normal((volumes, grayordinates))).astype(np.float32)


def rewritten(
    source: Path,
    target: Path,
    edit: Callable[[bytes], bytes] = bytes,
    *,
    data: bytes | None = None,
    extension: tuple[int, int] | None = None,
    **fields: object,
) -> Path:
    """A copy of a CIFTI file with its XML edited, and fields of its NIfTI header, or its data, set.

    ``extension`` is the length and the code that the header's extension states, if not its own.
    """
    content = source.read_bytes()
    header = np.frombuffer(content[:540], header_dtype).copy()
    first = int(header["vox_offset"][0])
    before = content[552:first].rstrip(b"\0")
    xml = edit(before)
    xml += b"\0" * (-(len(xml) + 8) % 16)
    header["vox_offset"] = 544 + 8 + len(xml)
    for name, value in fields.items():
        header[name] = value
    stated = np.array(extension or (len(xml) + 8, 32), "<i4").tobytes()
    target.write_bytes(
        header.tobytes() + b"\1\0\0\0" + stated + xml + (content[first:] if data is None else data)
    )
    return target


class Small:
    """A file of a few vertices, to write often."""

    def __init__(self, folder: Path, volumes: int) -> None:
        left, right = (
            BrainModelAxis.from_surface(
                np.arange(first, 100, 3), 32_492, name=f"CIFTI_STRUCTURE_CORTEX_{side}"
            )
            for first, side in ((0, "LEFT"), (1, "RIGHT"))
        )
        models = left + right
        self.rows = len(models)
        path = write_dtseries(folder / "small.dtseries.nii", np.zeros((volumes, self.rows)), models=models)
        self.content = path.read_bytes()

    def write(self, path: Path, values: np.ndarray, scaling: tuple[float, float] = (1, 0)) -> Path:
        """Write (rows, volumes) in their own type and byte order, with a slope and an intercept."""
        order = values.dtype.byteorder if values.dtype.byteorder in "<>" else "<"
        header = np.frombuffer(self.content[:540], header_dtype).astype(header_dtype.newbyteorder(order))
        codes = nib.nifti1.data_type_codes
        header["datatype"], header["bitpix"] = (
            codes.code[values.dtype.newbyteorder("=").type],
            values.itemsize * 8,
        )
        header["scl_slope"], header["scl_inter"] = scaling
        first = int(header["vox_offset"][0])
        extension = np.frombuffer(self.content[544:552], "<i4").astype(f"{order}i4").tobytes()
        path.write_bytes(
            header.tobytes() + self.content[540:544] + extension + self.content[552:first] + values.tobytes()
        )
        return path
