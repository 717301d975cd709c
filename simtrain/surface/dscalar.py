"""Maps of both hemispheres' cortex as CIFTI-2, which Connectome Workbench opens."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path

import numpy as np
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, ScalarAxis

from simdata.surface.meshes import HEMISPHERES
from simdata.surface.structures import IN_CIFTI


def write_dscalar(path: Path, names: Sequence[str], values: Mapping[str, np.ndarray]) -> None:
    """Write named maps as a dscalar.nii of the vertices that have values, in one hemisphere or both.

    Parameters
    ----------
    values : of each hemisphere (maps, vertices) float, NaN outside the cortex in all maps alike
    """
    inside = {hemisphere: ~np.isnan(values[hemisphere][0]) for hemisphere in HEMISPHERES}
    inside = {hemisphere: cortex for hemisphere, cortex in inside.items() if cortex.any()}
    models = [
        BrainModelAxis.from_surface(np.flatnonzero(cortex), len(cortex), name=IN_CIFTI[hemisphere])
        for hemisphere, cortex in inside.items()
    ]
    data = np.concatenate([values[hemisphere][:, cortex] for hemisphere, cortex in inside.items()], axis=1)
    header = (ScalarAxis(list(names)), reduce(operator.add, models))
    image = Cifti2Image(data.astype(np.float32), header=header)
    image.nifti_header.set_intent("NIFTI_INTENT_CONNECTIVITY_DENSE_SCALARS")
    image.to_filename(path)
