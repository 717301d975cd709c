"""Whether encoding models of the demo find the vertices where responses are planted, and nothing by chance.

`simdata demo` of either kind plants responses to pictures and to sound around a pole each (docs/demo.md). For
each map that `simtrain.encode` makes of both feature spaces: the area under the ROC curve with which it tells
the vertices near a pole from the rest of the cortex. And the share of vertices with p and q of .05 or less,
beside that of a null: the same models of BOLD that follows the film by so long that another clip is on.

    python scripts/encoding_demo.py study.zarr --out encoding_demo.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from planted_saliency import area_under_curve

import simtrain
from simdata.common import json_text
from simdata.surface.meshes import RADIUS
from simdata.synthetic.response import POLES, REGION
from simdata.synthetic.study.topography import REGIONS
from simtrain.api.encoding_model import VertexEncoding
from simtrain.surface.vertices import STORED, sphere

OTHER_CLIP = 50  # s: clips of the demo have 38 to 42, and 5 of rest between them
NO_AREA = ("p", "q", "normalised_r")  # of r, or not of every vertex
PLANTED = {  # by the catalog of the kind: where, and how far it reaches, mm
    "demo": {modality: (pole, REGION) for modality, pole in POLES.items()},
    "demo-study": {
        "video": (REGIONS["visual"].pole, REGIONS["visual"].radius),
        "audio": (REGIONS["auditory"].pole, REGIONS["auditory"].radius),
    },
}


def inside(pole: tuple[float, float, float], reach: float, cortex: np.ndarray) -> np.ndarray:
    """(vertices of the cortex,) bool, L and then R, whose vertex i is the mirror of L's."""
    centre = RADIUS * np.array(pole) / np.linalg.norm(pole)
    near = np.linalg.norm(sphere(STORED, "L")[0] - centre, axis=1) < reach
    return np.concatenate([near[side] for side in cortex])


def areas(found: VertexEncoding, cortex: np.ndarray, kind: str) -> dict[str, dict[str, float]]:
    """Measure -> modality -> area, both hemispheres in one, of the mean over subjects."""
    regions = {modality: inside(*planted, cortex) for modality, planted in PLANTED[kind].items()}
    return {
        str(measure): {
            modality: area_under_curve(values.values[cortex], region) for modality, region in regions.items()
        }
        for measure, values in found.mean.items()
        if measure not in NO_AREA
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--ridge", default="plain")
    parser.add_argument("--subject", action="append", default=[])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    dataset = simtrain.open_dataset(arguments.store)
    kind = dataset.identity["catalog_name"]
    asked: dict[str, Any] = {
        "features": "video,audio",
        "ridge": arguments.ridge,
        "subjects": arguments.subject,
        "partition": True,
    }
    record = {}
    for name, overrides in (("film", {}), ("null", {"data.lag": OTHER_CLIP})):
        found = simtrain.encode(dataset, overrides=overrides, **asked)
        record[name] = {
            "area": areas(found, dataset.cortex, kind),
            "significant": found.record["significant"],
        }
        print(f"{name}: {found}\n{'map':30} {' '.join(f'{modality:>6}' for modality in POLES)}")
        for measure, of_regions in record[name]["area"].items():
            print(f"{measure:30} {' '.join(f'{area:6.3f}' for area in of_regions.values())}")
        for measure, shares in found.record["significant"].items():
            of_subjects = np.mean([share for subject, share in shares.items() if subject != "mean"])
            print(f"{measure} <= .05: mean {100 * shares['mean']:.2f} %, subjects {100 * of_subjects:.2f} %")
    if arguments.out is not None:
        arguments.out.write_text(json_text.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
