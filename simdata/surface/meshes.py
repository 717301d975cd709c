"""The spheres of the cortical surface, by formula: no mesh file is needed.

Two families of geodesic spheres, both of radius 100 mm:

* fs_LR (Van Essen et al. 2012): an icosahedron whose edges are divided evenly in 77 ("59k", 1.6 mm)
  or 57 ("32k", 2 mm), in the vertex and triangle order of Connectome Workbench's
  ``-surface-create-sphere``, from which HCP made its templates.
* icospheres (MSM, Robinson et al. 2014): an icosahedron subdivided recursively; ico6 is the mesh of
  the surface vision transformer. Its first vertices are those of the coarser orders, and the faces
  inside face ``f`` of one order are faces ``4f`` to ``4f + 3`` of the next.

A third one is in `simdata.surface.fsaverage`.
"""

from __future__ import annotations

from functools import cache

import numpy as np

RADIUS = 100.0
DIVISIONS = {"59k": 77, "32k": 57}
HEMISPHERES = ("L", "R")
# Of each mesh that a run may be on: fs_LR, whose 164k has no formula, and fsaverage.
MESH_VERTICES = {
    **{density: 10 * divisions**2 + 2 for density, divisions in DIVISIONS.items()},
    "164k": 163_842,
    **{f"fsaverage{order}": 10 * 4**order + 2 for order in (5, 6, 7)},
}

Mesh = tuple[np.ndarray, np.ndarray]


def icosphere_vertices(order: int) -> int:
    """Number of vertices of an icosphere: 12, 42, 162, 642, 2562, 10242, 40962."""
    return 10 * 4**order + 2


@cache
def icosphere(order: int) -> Mesh:
    """MSM's recursive icosahedron.

    Returns
    -------
    vertices : (10 * 4**order + 2, 3) float64, mm
    faces : (20 * 4**order, 3) int32, outward normals
    """
    vertices, faces = _msm_icosahedron()
    for _ in range(order):
        vertices, faces = _subdivide(vertices, faces)
    # MSM negates x at the end, and swaps two corners so that normals stay outward.
    return frozen(vertices * [-RADIUS, RADIUS, RADIUS], faces[:, [1, 0, 2]])


@cache
def fs_lr_sphere(density: str, hemisphere: str) -> Mesh:
    """The fs_LR sphere of a density ("59k" or "32k") and hemisphere ("L" or "R").

    Returns
    -------
    vertices : (10 * n**2 + 2, 3) float64, mm, n = 77 or 57; the left is the right with x negated
    faces : (20 * n**2, 3) int32, outward normals
    """
    vertices, faces = _divided_icosahedron(DIVISIONS[density])
    if hemisphere == "L":
        return frozen(vertices * [-RADIUS, RADIUS, RADIUS], faces[:, [1, 0, 2]])
    return frozen(vertices * RADIUS, faces)


def _msm_icosahedron() -> Mesh:
    t, o = 0.8506508084, 0.5257311121
    vertices = np.array(
        [
            *[(t, o, 0), (-t, o, 0), (-t, -o, 0), (t, -o, 0)],
            *[(o, 0, t), (o, 0, -t), (-o, 0, -t), (-o, 0, t)],
            *[(0, t, o), (0, -t, o), (0, -t, -o), (0, t, -o)],
        ]
    )
    faces = np.array(
        [
            *[(7, 8, 4), (9, 7, 4), (11, 6, 5), (6, 10, 5), (3, 4, 0)],
            *[(5, 3, 0), (1, 7, 2), (6, 1, 2), (11, 0, 8), (1, 11, 8)],
            *[(3, 10, 9), (10, 2, 9), (0, 4, 8), (5, 0, 11), (3, 9, 4)],
            *[(10, 3, 5), (1, 8, 7), (11, 1, 6), (9, 2, 7), (2, 10, 6)],
        ]
    )
    return vertices, faces[:, [0, 2, 1]]


def _subdivide(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    """Split every face in four, side by side."""
    a, b, c = faces.T
    finer, (p0, p1, p2) = with_midpoints(vertices, faces, (0, 1, 2))
    children = [(p2, p0, p1), (p1, a, p2), (p0, c, p1), (p2, b, p0)]
    split = np.stack([np.stack(child, axis=-1) for child in children], axis=1)
    return finer, split.reshape(-1, 3)


def with_midpoints(
    vertices: np.ndarray, faces: np.ndarray, order: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Add the middle of every edge, on the unit sphere, numbered as a face-by-face walk first meets them.

    Parameters
    ----------
    order : in which a face's edges are met, each named by the corner that it lies opposite to

    Returns
    -------
    The vertices with the new ones behind them, and (3, faces) the number of the one opposite to each corner.
    """
    edges = np.sort(np.stack([np.delete(faces, corner, axis=1) for corner in order], axis=1), axis=-1)
    unique, first, inverse = np.unique(edges.reshape(-1, 2), axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(unique), dtype=np.int64)
    met = np.argsort(first)
    rank[met] = np.arange(len(unique))
    midpoints = vertices[unique[met]].sum(axis=1)
    midpoints /= np.linalg.norm(midpoints, axis=1, keepdims=True)
    numbers = (len(vertices) + rank[inverse.reshape(-1)]).reshape(-1, 3).T
    return np.concatenate([vertices, midpoints]), numbers[np.argsort(order)]


def _workbench_icosahedron() -> Mesh:
    phi = (1 + 5**0.5) / 2
    vertices = np.array(
        [
            *[(-phi, 0, 1), (0, -1, phi), (phi, 0, 1), (0, 1, phi)],
            *[(-1, -phi, 0), (1, -phi, 0), (1, phi, 0), (-1, phi, 0)],
            *[(-phi, 0, -1), (0, -1, -phi), (phi, 0, -1), (0, 1, -phi)],
        ]
    )
    faces = np.array(
        [
            *[(0, 7, 8), (0, 3, 7), (0, 1, 3), (1, 2, 3), (1, 5, 2)],
            *[(5, 9, 10), (10, 11, 6), (4, 1, 0), (4, 5, 1), (4, 9, 5)],
            *[(5, 10, 2), (10, 6, 2), (6, 11, 7), (11, 9, 8), (9, 4, 8)],
            *[(8, 4, 0), (11, 8, 7), (6, 7, 3), (6, 3, 2), (11, 10, 9)],
        ]
    )
    return vertices / np.linalg.norm(vertices[0]), faces


def _divided_icosahedron(n: int) -> Mesh:
    """Unit sphere with each edge of the icosahedron divided in ``n``.

    Vertices are numbered face by face: points of edges not met before (from the lower to the higher
    end), then interior points row by row.
    """
    corners, base_faces = _workbench_icosahedron()
    vertices, faces, edges, count = [corners], [], {}, len(corners)
    row, column = np.nonzero(np.add.outer(np.arange(n + 1), np.arange(n + 1)) <= n)
    inside = (row > 0) & (column > 0) & (row + column < n)
    template = _lattice_triangles(n)
    for a, b, c in base_faces:
        ids = np.full((n + 1, n + 1), -1)
        for low, high, line in (
            (a, b, (0, np.arange(n + 1))),
            (a, c, (np.arange(n + 1), 0)),
            (b, c, (np.arange(n + 1), n - np.arange(n + 1))),
        ):
            first, last = min(low, high), max(low, high)
            if (first, last) not in edges:
                edges[first, last] = np.r_[first, count + np.arange(n - 1), last]
                vertices.append(_spread(corners[[first, last]], _edge_fractions(n)))
                count += n - 1
            ids[line] = edges[first, last] if low == first else edges[first, last][::-1]
        fractions = np.stack([n - row - column, column, row], axis=1)[inside] / n
        ids[row[inside], column[inside]] = count + np.arange(inside.sum())
        vertices.append(_spread(corners[[a, b, c]], fractions))
        count += inside.sum()
        faces.append(ids[template[..., 0], template[..., 1]])
    return np.concatenate(vertices), np.concatenate(faces)


def _edge_fractions(n: int) -> np.ndarray:
    steps = np.arange(1, n) / n
    return np.stack([1 - steps, steps], axis=1)


def _spread(corners: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Points on the unit sphere from flat barycentric ``fractions``, with nearly equal areas.

    The quintic is Workbench's ("surface-create-sphere"), fitted to an icosahedron's faces.
    """
    quintic = [0.0537206, -0.174466, 0.292547, -0.456351, 0.0]
    quintic[-1] = 1 - sum(quintic)
    points = np.polyval([*quintic, 0.0], fractions) @ corners
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _lattice_triangles(n: int) -> np.ndarray:
    """(n**2, 3, 2) rows and columns of the small triangles of a face, row by row, upright first."""
    triangles = []
    for row in range(n):
        for column in range(n - row):
            triangles.append([(row, column), (row, column + 1), (row + 1, column)])
            if column < n - row - 1:
                triangles.append([(row + 1, column), (row, column + 1), (row + 1, column + 1)])
    return np.array(triangles)


def frozen(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    """A mesh that may be kept for all: float64 and int32, which cannot be written to."""
    vertices, faces = np.ascontiguousarray(vertices), np.ascontiguousarray(faces, dtype=np.int32)
    vertices.setflags(write=False)
    faces.setflags(write=False)
    return vertices, faces
