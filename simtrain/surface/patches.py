"""The patches of the surface vision transformer: faces of a coarse icosphere (Dahan et al. 2022)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from simdata.common.errors import UserError
from simdata.surface.meshes import icosphere

MESH_ORDER = 6


def patch_vertices(order: int, mesh_order: int = MESH_ORDER) -> np.ndarray:
    """The mesh's vertices inside or on each face of the icosphere of ``order``.

    The faces of a finer icosphere that lie in face ``f`` follow one another, so the table needs no
    geometry: the vertices of a patch are the corners of those faces, each once.

    Returns
    -------
    (20 * 4**order, (n + 1) * (n + 2) / 2) int64, n = 2**(mesh_order - order)
        Patch ``f`` is face ``f`` of ``simdata.surface.meshes.icosphere(order)``; in a patch, vertices ascend.
        Orders 1 to 5 on ico6: 80 x 561, 320 x 153, 1280 x 45, 5120 x 15, 20480 x 6.
    """
    faces = icosphere(mesh_order)[1].astype(np.int64)
    corners = np.sort(faces.reshape(20 * 4**order, -1), axis=1)
    first = np.diff(corners, axis=1, prepend=-1) != 0
    return corners[first].reshape(len(corners), -1)


def patch_centres(patches: int) -> np.ndarray:
    """(patches, 3) float64 of unit length: where patches have their centres on the left sphere.

    Those of the right are their mirror images.
    """
    order = round(math.log(patches / 20, 4))
    vertices, faces = icosphere(order)
    centres = vertices[faces].mean(axis=1)
    return centres / np.linalg.norm(centres, axis=1, keepdims=True)


def read_patches(path: Path, order: int) -> np.ndarray:
    """A table of the same patches in an order of its own, from a CSV file as the published SIM code has.

    A column is a patch, headed by its number from 0 on; its rows are the patch's vertices.

    Returns
    -------
    (patches, vertices of one) int64, as `patch_vertices`; patch ``j`` is column ``j``.

    Raises
    ------
    UserError
        If the file is no such table, or its patches are not the faces of the icosphere of ``order``.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file of patches")
    try:
        with path.open() as file:
            header = file.readline().strip().split(",")
            table = np.loadtxt(file, delimiter=",", dtype=np.int64, ndmin=2).T
    except ValueError as error:
        raise UserError(f"{path}: is no table of patches, numbers in columns ({error})") from None
    if header != [str(number) for number in range(len(table))]:
        raise UserError(f"{path}: its first line must number its {len(table)} columns, 0 to {len(table) - 1}")
    patches = patch_vertices(order)
    if table.shape != patches.shape:
        raise UserError(
            f"{path}: has {table.shape[0]} patches of {table.shape[1]} vertices; icosphere {order} has "
            f"{patches.shape[0]} of {patches.shape[1]}"
        )
    in_order = np.sort(table, axis=1)
    if not np.array_equal(in_order[np.lexsort(in_order.T)], patches[np.lexsort(patches.T)]):
        raise UserError(f"{path}: its patches are not the faces of icosphere {order} on this mesh (ico6)")
    return table


def arrangement(table: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """How a table that `read_patches` gave is ordered, in terms of `patch_vertices`.

    Returns
    -------
    column : (patches,) int64, the position in ``table`` of each patch
    order : (patches, vertices of one) int64, for each of the table's vertices its position in our patch
    """
    in_order = np.sort(table, axis=1)
    column = np.empty(len(table), np.int64)
    column[np.lexsort(patch_vertices(order).T)] = np.lexsort(in_order.T)
    return column, np.argsort(np.argsort(table, axis=1), axis=1)[column]
