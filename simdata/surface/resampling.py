"""Barycentric resampling from fs_LR to ico6, as sparse weights.

The weights depend only on the two spheres and on which source vertices have data. The right hemisphere is
resampled with its sphere mirrored in x (which is the left one's), so that vertex i of the right is the
mirror of vertex i of the left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from simdata.surface.meshes import Mesh, fs_lr_sphere, icosphere

ORDER = 6
POINTS_AT_ONCE = 1024  # some 15 MB of triangles


def cortex_weights(density: str, vertices: np.ndarray) -> csr_array:
    """Weights that take one hemisphere's rows of a run to ico6.

    Near the medial wall, a target whose triangle has corners without data is the weighted mean of the
    remaining ones; a target without any has an empty row, and lies outside ``cortex``. This is what
    Connectome Workbench's ``-metric-resample BARYCENTRIC -current-roi`` does.

    Parameters
    ----------
    density : "59k" or "32k"
    vertices : (n,) int, the fs_LR vertex of each row

    Returns
    -------
    (40962, n) float32 CSR, each non-empty row sums to 1
    """
    weights = _sphere_weights(density)[:, vertices]
    total = weights.sum(axis=1)
    scale = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
    weights.data *= np.repeat(scale, np.diff(weights.indptr))
    return weights.astype(np.float32)


@dataclass(frozen=True)
class Corners:
    """Sparse weights with at most three a row, as a table.

    Attributes
    ----------
    rows : (targets, 3) int32, the source rows; -1 in targets without any
    weights : (targets, 3) float32; 0 where a target has fewer than three
    """

    rows: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, matrix: csr_array) -> Corners:
        counts = np.diff(matrix.indptr)
        first = matrix.indptr[:-1, None]
        taken = np.arange(3) < counts[:, None]
        # An absent corner repeats the first one, with a weight of 0.
        places = np.where(taken, first + np.arange(3), np.minimum(first, matrix.nnz - 1))
        rows = np.where(counts[:, None] > 0, matrix.indices[places], -1)
        return cls(rows.astype(np.int32), np.where(taken, matrix.data[places], 0).astype(np.float32))

    @property
    def cortex(self) -> np.ndarray:
        """(targets,) bool, which ones have a source."""
        return self.rows[:, 0] >= 0


@lru_cache
def _sphere_weights(density: str) -> csr_array:
    return barycentric_weights(icosphere(ORDER)[0], fs_lr_sphere(density, "L"))


def barycentric_weights(points: np.ndarray, mesh: Mesh) -> csr_array:
    """Barycentric weights of points on a sphere in the triangle that contains each of them.

    Parameters
    ----------
    points : (p, 3) on the mesh's sphere
    mesh : vertices (v, 3), faces (f, 3)

    Returns
    -------
    (p, v) float64 CSR, at most three weights a row, none below 1e-6
    """
    vertices, faces = mesh
    incident = _incident_faces(faces, len(vertices))
    tree = cKDTree(vertices)
    corners, weights = np.empty((len(points), 3), faces.dtype), np.empty((len(points), 3))
    for start in range(0, len(points), POINTS_AT_ONCE):
        some = slice(start, start + POINTS_AT_ONCE)
        # The triangle around a point may not have the nearest vertex as a corner, but one of the nearest 4.
        _, nearest = tree.query(points[some], k=4)
        candidates = incident[nearest].reshape(len(nearest), -1)
        corners[some], weights[some] = _best_triangles(points[some], vertices, faces, candidates)
    # Over an edge of a coarse mesh a point may project a little outside both triangles: the edge is closest.
    if weights.min() < -1e-2:
        raise RuntimeError("a point lies in none of the triangles around its nearest vertices")
    # Rounding leaves weights of some 1e-16 on a shared edge: they are no source.
    weights[weights < 1e-6] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(len(points)), 3)
    matrix = csr_array((weights.ravel(), (rows, corners.ravel())), shape=(len(points), len(vertices)))
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix


def _best_triangles(
    points: np.ndarray, vertices: np.ndarray, faces: np.ndarray, candidates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The one of (points, candidates) faces that holds each point: its corners and the point's weights."""
    weights = _closest_point_weights(points[:, None, :], vertices[faces[candidates]])
    best = weights.min(axis=-1).argmax(axis=1)
    point = np.arange(len(points))
    return faces[candidates[point, best]], weights[point, best]


def _incident_faces(faces: np.ndarray, vertices: int) -> np.ndarray:
    """(vertices, 6) faces around each vertex; the twelve with five repeat one."""
    order = np.argsort(faces.ravel(), kind="stable") // 3
    counts = np.bincount(faces.ravel(), minlength=vertices)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return order[starts[:, None] + np.minimum(np.arange(counts.max()), counts[:, None] - 1)]


def _closest_point_weights(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Barycentric weights of the points' projections on the planes of triangles (..., 3 corners, 3)."""
    a, b, c = corners[..., 0, :], corners[..., 1, :], corners[..., 2, :]
    ab, ac, ap = b - a, c - a, points - a
    normal = np.cross(ab, ac)
    area = (normal**2).sum(-1)
    second = (np.cross(ap, ac) * normal).sum(-1) / area
    third = (np.cross(ab, ap) * normal).sum(-1) / area
    return np.stack([1 - second - third, second, third], axis=-1)
