"""Runs of parcels as other software writes them."""

from __future__ import annotations

import csv
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
from nibabel.cifti2 import Cifti2Image, ParcelsAxis, SeriesAxis

STRUCTURES = {"L": "CIFTI_STRUCTURE_CORTEX_LEFT", "R": "CIFTI_STRUCTURE_CORTEX_RIGHT"}


def parcel_noise(volumes: int, parcels: int, seed: int = 0) -> np.ndarray:
    """(volumes, parcels) float32 in something like scanner units."""
    rng = np.random.default_rng(seed)
    return (1e4 + 100 * rng.standard_normal((volumes, parcels))).astype(np.float32)


def write_ptseries(
    path: Path, values: np.ndarray, step: float = 1.0, start: float = 0.0, unit: str = "SECOND"
) -> Path:
    """Half of the parcels in either hemisphere, ten vertices each; they are called L0, L1, ..., R0, ..."""
    half = values.shape[1] // 2
    parcels = [
        (f"{side}{number}", [], {STRUCTURES[side]: np.arange(10 * number, 10 * number + 10)})
        for side in "LR"
        for number in range(half)
    ]
    axis = ParcelsAxis(
        [name for name, *_ in parcels],
        [np.empty((0, 3), int) for _ in parcels],
        [vertices for *_, vertices in parcels],
        np.eye(4),
        (91, 109, 91),
        dict.fromkeys(STRUCTURES.values(), 32492),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    series = SeriesAxis(start, step, len(values), unit)
    image = Cifti2Image(values.astype("f4"), header=(series, axis))
    image.nifti_header.set_intent("NIFTI_INTENT_CONNECTIVITY_PARCELLATED_SERIES")
    nib.save(image, path)
    return path


def write_table(path: Path, values: np.ndarray, names: list[str], delimiter: str = "\t") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(names)
        writer.writerows(
            [["n/a" if np.isnan(value) else repr(float(value)) for value in row] for row in values]
        )
    return path


def write_hdf5(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """As Algonauts 2025: an array (samples, parcels) for each run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path
