"""Barycentric weights of points on a sphere in the triangles of a mesh."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from simdata.surface.meshes import Mesh

POINTS_AT_ONCE = 1024  # some 15 MB of triangles


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
