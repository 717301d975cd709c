"""CIFTI-2 brain models with the sizes, structures and order of HCP's releases.

The medial walls and the voxels' places are made up; every count is HCP's (Glasser et al. 2013, and the
headers of the S1200 release).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from nibabel.cifti2 import BrainModelAxis

from simdata.surface.meshes import HEMISPHERES, fs_lr_sphere
from simdata.surface.structures import IN_CIFTI

MEDIAL = (1.0, 0.1, -0.15)  # the middle of the left medial wall; the right one's is mirrored in x
CORTEX_ROWS = {"59k": {"L": 54_216, "R": 54_225}, "32k": {"L": 29_696, "R": 29_716}}
GRID = {"59k": ((113, 136, 113), 1.6), "32k": ((91, 109, 91), 2.0)}
# Structure: voxels at 1.6 mm, voxels at 2 mm, centre in MNI mm (of the left one, where there are two).
SUBCORTEX = {
    "ACCUMBENS_LEFT": (257, 135, (-10, 12, -8)),
    "ACCUMBENS_RIGHT": (283, 140, (10, 12, -8)),
    "AMYGDALA_LEFT": (620, 315, (-24, -4, -20)),
    "AMYGDALA_RIGHT": (654, 332, (24, -4, -20)),
    "BRAIN_STEM": (6731, 3472, (0, -30, -36)),
    "CAUDATE_LEFT": (1370, 728, (-14, 10, 10)),
    "CAUDATE_RIGHT": (1431, 755, (14, 10, 10)),
    "CEREBELLUM_LEFT": (17_105, 8709, (-24, -62, -34)),
    "CEREBELLUM_RIGHT": (17_638, 9144, (24, -62, -34)),
    "DIENCEPHALON_VENTRAL_LEFT": (1395, 706, (-10, -16, -10)),
    "DIENCEPHALON_VENTRAL_RIGHT": (1385, 712, (10, -16, -10)),
    "HIPPOCAMPUS_LEFT": (1484, 764, (-26, -22, -14)),
    "HIPPOCAMPUS_RIGHT": (1512, 795, (26, -22, -14)),
    "PALLIDUM_LEFT": (583, 297, (-20, -4, 0)),
    "PALLIDUM_RIGHT": (499, 260, (20, -4, 0)),
    "PUTAMEN_LEFT": (2114, 1060, (-26, 2, 0)),
    "PUTAMEN_RIGHT": (2016, 1010, (26, 2, 0)),
    "THALAMUS_LEFT": (2515, 1288, (-12, -18, 8)),
    "THALAMUS_RIGHT": (2461, 1248, (12, -18, 8)),
}


@cache
def brain_models(density: str) -> BrainModelAxis:
    """The axis of 170,494 ("59k") or 91,282 ("32k") grayordinates."""
    names, voxels, vertices, counts = [], [], [], {}
    for hemisphere in HEMISPHERES:
        rows = cortex_vertices(density, hemisphere)
        counts[IN_CIFTI[hemisphere]] = len(fs_lr_sphere(density, hemisphere)[0])
        names.append(np.full(len(rows), IN_CIFTI[hemisphere]))
        vertices.append(rows)
        voxels.append(np.full((len(rows), 3), -1))
    shape, _ = GRID[density]
    taken = np.zeros(shape, bool)
    for structure, (fine, coarse, centre) in SUBCORTEX.items():
        ball = _ball(density, fine if density == "59k" else coarse, centre, taken)
        names.append(np.full(len(ball), f"CIFTI_STRUCTURE_{structure}"))
        vertices.append(np.full(len(ball), -1))
        voxels.append(ball)
    return BrainModelAxis(
        np.concatenate(names),
        voxel=np.concatenate(voxels),
        vertex=np.concatenate(vertices),
        affine=voxel_to_mm(density),
        volume_shape=shape,
        nvertices=counts,
    )


def cortex_vertices(density: str, hemisphere: str) -> np.ndarray:
    """The vertices outside the medial wall, ascending: as many as HCP has."""
    vertices, _ = fs_lr_sphere(density, hemisphere)
    medial = np.array(MEDIAL) * (1 if hemisphere == "L" else -1, 1, 1)
    lateral_first = np.argsort(vertices @ medial, kind="stable")
    return np.sort(lateral_first[: CORTEX_ROWS[density][hemisphere]])


def voxel_to_mm(density: str) -> np.ndarray:
    """The templates' affine: x runs from right to left."""
    _, size = GRID[density]
    affine = np.diag([-size, size, size, 1.0])
    affine[:3, 3] = 90, -126, -72
    return affine


def _ball(density: str, count: int, centre: tuple[float, float, float], taken: np.ndarray) -> np.ndarray:
    """(count, 3) free voxels nearest to ``centre`` (mm), which are then taken."""
    inverse = np.linalg.inv(voxel_to_mm(density))
    middle = inverse[:3, :3] @ centre + inverse[:3, 3]
    grid = np.indices(taken.shape).reshape(3, -1).T
    distance = ((grid - middle) ** 2).sum(axis=1)
    distance[taken.ravel()] = np.inf
    nearest = np.sort(np.argpartition(distance, count)[:count])
    taken.ravel()[nearest] = True
    return grid[nearest]
