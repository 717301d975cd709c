"""Whether the saliency of a model trained on the demo finds where the demo's signal is planted.

`simdata demo` plants the responses to pictures and to sound around a pole each (simdata.synthetic.response).
For every dscalar.nii that `simtrain saliency` wrote on the store's mesh: the area under the ROC curve with
which the map tells the vertices near a pole from the rest of the cortex (0.5: not at all; 1: entirely).

    python scripts/planted_saliency.py RUN/saliency --out planted.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.stats import rankdata

from simdata.common import json_text
from simdata.surface.meshes import RADIUS
from simdata.surface.structures import IN_CIFTI
from simdata.synthetic.response import POLES, REGION
from simtrain.surface.vertices import STORED, sphere


def area_under_curve(values: np.ndarray, inside: np.ndarray) -> float:
    """Mann and Whitney's: the chance that a vertex inside has more than one outside."""
    ranks, count = rankdata(values), inside.sum()
    above = ranks[inside].sum() - count * (count + 1) / 2
    return float(above / (count * (~inside).sum()))


def near(pole: tuple[float, float, float], hemisphere: str) -> np.ndarray:
    """(vertices,) bool: within one s.d. of the planted region."""
    centre = np.array(pole) * [1 if hemisphere == "L" else -1, 1, 1]
    centre *= RADIUS / np.linalg.norm(centre)
    return np.linalg.norm(sphere(STORED, hemisphere)[0] - centre, axis=1) < REGION


def judge(path: Path) -> dict[str, dict[str, float]]:
    """For each map of a file, the area of each region, both hemispheres in one."""
    image = nib.load(path)
    scalars, models = image.header.get_axis(0), image.header.get_axis(1)
    hemispheres = {structure: hemisphere for hemisphere, structure in IN_CIFTI.items()}
    regions = {
        modality: np.concatenate(
            [near(pole, hemispheres[name])[model.vertex] for name, _, model in models.iter_structures()]
        )
        for modality, pole in POLES.items()
    }
    return {
        name: {modality: area_under_curve(values, inside) for modality, inside in regions.items()}
        for name, values in zip(scalars.name, image.get_fdata(), strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = {path.name: judge(path) for path in sorted(arguments.folder.glob(f"*.{STORED}.dscalar.nii"))}
    print(f"{'file':45} {'map':22} {' '.join(f'{modality:>6}' for modality in POLES)}")
    for file, maps in found.items():
        for name, areas in maps.items():
            print(f"{file:45} {name:22} {' '.join(f'{area:6.3f}' for area in areas.values())}")
    if arguments.out is not None:
        arguments.out.write_text(json_text.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
