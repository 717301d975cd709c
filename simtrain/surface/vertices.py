"""From patches to the vertices of the mesh, and from that mesh to others."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from simdata.surface.barycentric import barycentric_weights
from simdata.surface.meshes import DIVISIONS, Mesh, fs_lr_sphere, icosphere
from simtrain.surface.patches import MESH_ORDER

STORED = f"ico{MESH_ORDER}"
MESHES = (STORED, *DIVISIONS)


def mean_over_patches(
    values: Tensor, counted: Tensor, patches: Tensor, vertices: int
) -> tuple[Tensor, Tensor]:
    """The mean of what the patches that meet in a vertex say of it, and how many of them count.

    Parameters
    ----------
    values : (batch, patches, vertices of one * frames), the frames of a vertex together
    counted : bool, of the same shape
    patches : (patches, vertices of one) int64, as `simtrain.surface.patches.patch_vertices` gives
    vertices : of the mesh

    Returns
    -------
    Twice (batch, vertices, frames) float32; the mean is 0 where nothing counts.
    """
    index, frames = patches.flatten(), values.shape[2] // patches.shape[1]
    counts, sums = (torch.zeros(len(values), vertices, frames, device=values.device) for _ in range(2))
    flat = (len(values), len(index), frames)
    counts.index_add_(1, index, counted.float().reshape(flat))
    sums.index_add_(1, index, torch.where(counted, values.float(), 0.0).reshape(flat))
    return sums / counts.clamp(min=1), counts


def sphere(mesh: str, hemisphere: str) -> Mesh:
    """The sphere of a hemisphere on "ico6", as the store has it, or HCP's "32k" or "59k", normals outward."""
    if mesh != STORED:
        return fs_lr_sphere(mesh, hemisphere)
    vertices, faces = icosphere(MESH_ORDER)
    if hemisphere == "L":
        return vertices, faces
    # Mirrored, as vertex i of R is the mirror of vertex i of L; that turns the faces over.
    return vertices * [-1, 1, 1], faces[:, [1, 0, 2]]


def resample(values: np.ndarray, mesh: str) -> np.ndarray:
    """Maps of one hemisphere from the store's mesh to another, barycentric on the sphere.

    The store's cortex reaches a vertex further than its source's did (`surface.resampling.cortex_weights`); a
    vertex has a value here if at least half its weight is cortex, so that it does not grow a second time.

    Parameters
    ----------
    values : (..., 40962) float, NaN outside the cortex, or wherever a map says nothing
    mesh : "ico6", "32k" or "59k"

    Returns
    -------
    (..., vertices) float32, NaN there
    """
    if mesh == STORED:
        return values.astype(np.float32)
    weights, flat = _from_stored(mesh), values.reshape(-1, values.shape[-1])
    share = (~np.isnan(flat)).astype(float) @ weights.T
    total = np.nan_to_num(flat) @ weights.T
    kept = share >= 0.5
    found = np.full(total.shape, np.nan, np.float32)
    found[kept] = total[kept] / share[kept]
    return found.reshape(*values.shape[:-1], -1)


@cache
def _from_stored(mesh: str) -> csr_array:
    """(vertices, 40962); of the left spheres, which serves the right: both of its spheres are mirrored."""
    return barycentric_weights(fs_lr_sphere(mesh, "L")[0], icosphere(MESH_ORDER))
