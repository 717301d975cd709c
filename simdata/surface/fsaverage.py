"""The spheres of FreeSurfer's average subject, by formula: no mesh file is needed.

fsaverage5, 6 and 7 (Fischl et al. 1999; 7 is what FreeSurfer calls fsaverage) are an icosahedron that stands
on a pole, subdivided so many times. The left and the right sphere are the same points and faces: they are not
mirrored, as those of fs_LR are.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from simdata.surface.meshes import RADIUS, Mesh, frozen, with_midpoints

ORDERS = {"fsaverage5": 5, "fsaverage6": 6, "fsaverage7": 7}  # times that faces are split


@cache
def fsaverage_sphere(name: str) -> Mesh:
    """The sphere of "fsaverage5", "fsaverage6" or "fsaverage7", of either hemisphere.

    Vertices lie within .009 mm of those of FreeSurfer's files, which have four digits; faces are the same.

    Returns
    -------
    vertices : (10 * 4**order + 2, 3) float64, mm; the first are those of the coarser spheres
    faces : (20 * 4**order, 3) int32, outward normals
    """
    vertices, faces = _icosahedron()
    for _ in range(ORDERS[name]):
        vertices, faces = _subdivide(vertices, faces)
    return frozen(vertices * RADIUS, faces)


def _icosahedron() -> Mesh:
    """A pole, two rings of five, and the other pole."""
    upper, lower = (np.radians(first + 72 * np.arange(5)) for first in (-72, -108))
    rings = [
        np.stack([2 * np.cos(ring), 2 * np.sin(ring), np.full(5, height)], axis=1) / 5**0.5
        for ring, height in ((upper, 1), (lower, -1))
    ]
    vertices = np.concatenate([[(0, 0, 1)], *rings, [(0, 0, -1)]])
    faces = np.array(
        [
            *[(0, 3, 4), (0, 4, 5), (0, 5, 1), (0, 1, 2), (0, 2, 3)],
            *[(3, 2, 8), (3, 8, 9), (3, 9, 4), (4, 9, 10), (4, 10, 5)],
            *[(5, 10, 6), (5, 6, 1), (1, 6, 7), (1, 7, 2), (2, 7, 8)],
            *[(8, 11, 9), (9, 11, 10), (10, 11, 6), (6, 11, 7), (7, 11, 8)],
        ]
    )
    return vertices, faces


def _subdivide(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    """Split every face in four: one takes its place, three go behind all others."""
    a, b, c = faces.T
    finer, (bc, ca, ab) = with_midpoints(vertices, faces, (1, 0, 2))
    behind = [np.stack(child, axis=-1) for child in ((ca, bc, c), (ab, bc, ca), (ab, b, bc))]
    return finer, np.concatenate([np.stack([a, ab, ca], axis=-1), np.stack(behind, axis=1).reshape(-1, 3)])
