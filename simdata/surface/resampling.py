"""Barycentric resampling from a run's mesh to ico6, as sparse weights.

The weights depend only on the two spheres and on which source vertices have data. The right hemisphere is
resampled with its fs_LR sphere mirrored in x (which is the left one's), so that vertex i of the right is the
mirror of vertex i of the left. Meshes of fsaverage, whose spheres are not mirrored, are reached through the
registration of fs_LR to fsaverage of each hemisphere.

A target is made of three vertices at most, also where the source is finer than ico6, as fsaverage7 is: the
others are passed over, not averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array

from simdata.common.errors import UserError
from simdata.surface.barycentric import barycentric_weights
from simdata.surface.fsaverage import fsaverage_sphere
from simdata.surface.meshes import DIVISIONS, Mesh, fs_lr_sphere, icosphere
from simdata.surface.registration import ORDER, shipped
from simdata.surface.sphere_files import SphereFiles


def cortex_weights(
    density: str, hemisphere: str, vertices: np.ndarray, spheres: SphereFiles | None = None
) -> csr_array:
    """Weights that take one hemisphere's rows of a run to ico6.

    Near the medial wall, a target whose triangle has corners without data is the weighted mean of the
    remaining ones; a target without any has an empty row, and lies outside ``cortex``. This is what
    Connectome Workbench's ``-metric-resample BARYCENTRIC -current-roi`` does.

    Parameters
    ----------
    density : the run's mesh, one of `simdata.surface.meshes.MESH_VERTICES`
    vertices : (n,) int, the vertex of that mesh of each row
    spheres : files in place of formulas and of the shipped registration; 164k has no formula and needs them

    Returns
    -------
    (40962, n) float32 CSR, each non-empty row sums to 1

    Raises
    ------
    UserError
        If a file of a sphere is needed and is not there, or is damaged.
    """
    # Both hemispheres of fs_LR by formula are one: they are kept once.
    side = "L" if density in DIVISIONS else hemisphere
    weights = _sphere_weights(density, side, spheres)[:, vertices]
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

    @classmethod
    def one_to_one(cls, usable: np.ndarray) -> Corners:
        """Those of targets that are the rows themselves, where these are usable (rows,)."""
        rows = np.where(usable, np.arange(len(usable), dtype=np.int32), np.int32(-1))
        weights = np.tile(np.array([1, 0, 0], np.float32), (len(usable), 1))
        return cls(np.repeat(rows[:, None], 3, axis=1), weights)

    @property
    def cortex(self) -> np.ndarray:
        """(targets,) bool, which ones have a source."""
        return self.rows[:, 0] >= 0


@lru_cache
def _sphere_weights(density: str, hemisphere: str, spheres: SphereFiles | None) -> csr_array:
    if density in DIVISIONS:
        return barycentric_weights(icosphere(ORDER)[0], fs_lr_sphere(density, hemisphere))
    if density == "164k":
        return barycentric_weights(_fs_lr_ico6(hemisphere), _fs_lr_164k(hemisphere, spheres))
    real = spheres.registered(hemisphere) if spheres else None
    return barycentric_weights(shipped(hemisphere) if real is None else real, fsaverage_sphere(density))


def _fs_lr_ico6(hemisphere: str) -> np.ndarray:
    """Ico6's vertices on the fs_LR sphere of a hemisphere."""
    return icosphere(ORDER)[0] * [1 if hemisphere == "L" else -1, 1, 1]


def _fs_lr_164k(hemisphere: str, spheres: SphereFiles | None) -> Mesh:
    mesh = spheres.fs_lr_164k(hemisphere) if spheres else None
    if mesh is None:
        raise UserError(
            "runs on fs_LR 164k need `spheres`, a folder with "
            "fsaverage.L_LR.spherical_std.164k_fs_LR.surf.gii and that of R (HCPpipelines), or "
            "TemplateFlow's tpl-fsLR_den-164k_hemi-L_sphere.surf.gii and that of R"
        )
    return mesh
