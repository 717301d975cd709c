"""Atlases of parcels as other software writes them."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import reduce
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis
from nibabel.freesurfer import write_annot
from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiLabel, GiftiLabelTable, GiftiMetaData

CIFTI = {"L": "CIFTI_STRUCTURE_CORTEX_LEFT", "R": "CIFTI_STRUCTURE_CORTEX_RIGHT"}
GIFTI = {"L": "CortexLeft", "R": "CortexRight"}
Keys = Mapping[str, np.ndarray]  # of each hemisphere (vertices,) int, 0: none
Names = Mapping[int, str]


def write_dlabel(path: Path, keys: Keys, names: Names) -> Path:
    models = [
        BrainModelAxis.from_surface(np.arange(len(of_side)), len(of_side), name=CIFTI[side])
        for side, of_side in keys.items()
    ]
    table = {0: ("???", (0, 0, 0, 0))} | {key: (name, (1, 0, 0, 1)) for key, name in names.items()}
    data = np.concatenate(list(keys.values()))[None].astype("f4")
    image = Cifti2Image(data, header=(LabelAxis(["atlas"], table), reduce(operator.add, models)))
    image.nifti_header.set_intent("NIFTI_INTENT_CONNECTIVITY_DENSE_LABELS")
    nib.save(image, path)
    return path


def write_label(path: Path, side: str, keys: np.ndarray, names: Names) -> Path:
    table = GiftiLabelTable()
    for key, name in {0: "???", **names}.items():
        label = GiftiLabel(key, 1, 0, 0, 1)
        label.label = name
        table.labels.append(label)
    array = GiftiDataArray(keys.astype("i4"), "NIFTI_INTENT_LABEL", "NIFTI_TYPE_INT32")
    meta = GiftiMetaData({"AnatomicalStructurePrimary": GIFTI[side]})
    nib.save(GiftiImage(darrays=[array], labeltable=table, meta=meta), path)
    return path


def write_lone_annot(path: Path, keys: np.ndarray, names: Names) -> Path:
    """An annot; keys 1 to n are the names in their order."""
    colours = np.stack([[10 * key % 256, key // 25, key % 25, 0] for key in names])
    write_annot(path, keys - 1, colours, list(names.values()), fill_ctab=True)
    return path
