"""Real CIFTI-2 dense series for tests: small in time, HCP-like in space."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, SeriesAxis

from simdata.meshes import DIVISIONS, fs_lr_sphere

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
) -> Path:
    """Write (volumes, grayordinates) float32 data."""
    series = SeriesAxis(0, step, len(data), unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(Cifti2Image(data.astype(np.float32), header=(series, models or brain_models(density))), path)
    return path


def noise(density: str, volumes: int, seed: int = 0) -> np.ndarray:
    """BOLD-like values: mean some 10,000, s.d. some 150, as (volumes, grayordinates)."""
    rng = np.random.default_rng(seed)
    grayordinates = brain_models(density).size
    baseline = 10_000 + 500 * rng.standard_normal(grayordinates)
    return (baseline + 150 * rng.standard_normal((volumes, grayordinates))).astype(np.float32)
