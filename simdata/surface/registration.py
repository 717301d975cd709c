"""HCP's registration of fs_LR to fsaverage: where the store's vertices lie on fsaverage's sphere.

It is a rotation and a warp (Van Essen et al. 2012), which HCPpipelines has as the vertices of an fs_LR mesh
on fsaverage's sphere ("fs_LR-deformed_to-fsaverage"). What comes with simdata are the vertices of ico6, made
of the 59k mesh by ``scripts/make_fsaverage_registration.py``; the licence of HCPpipelines is beside the file.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np

from simdata.surface.barycentric import barycentric_weights
from simdata.surface.meshes import HEMISPHERES, RADIUS, fs_lr_sphere, icosphere, icosphere_vertices

ORDER = 6  # of the icosphere that the store is on
FILE = "fsaverage_registration.npz"
COARSE_STEP = RADIUS / 32_767  # mm, of int16
DETAIL_STEP = 0.005  # mm, of int8


def registered(density: str, deformed: np.ndarray) -> np.ndarray:
    """Positions of ico6's vertices on fsaverage's sphere, by those of an fs_LR mesh.

    The right hemisphere of the store mirrors the left, as fs_LR's does: its ico6 lies on the right fs_LR mesh
    as the left one's on the left. Fsaverage's right sphere is no mirror image, nor are these positions.

    Parameters
    ----------
    density : "59k" or "32k"
    deformed : (vertices of that mesh, 3) mm, of either hemisphere

    Returns
    -------
    (40962, 3) float64, mm
    """
    weights = barycentric_weights(icosphere(ORDER)[0], fs_lr_sphere(density, "L"))
    return _on_sphere(weights @ deformed)


@cache
def shipped(hemisphere: str) -> np.ndarray:
    """Those of a hemisphere that come with simdata, (40962, 3) float64 mm; within .004 mm of `registered`."""
    with (files("simdata.surface") / FILE).open("rb") as file, np.load(file) as packed:
        side = HEMISPHERES.index(hemisphere)
        coarse, detail = packed["coarse"][side] * COARSE_STEP, packed["detail"][side] * DETAIL_STEP
    positions = _between_coarse(coarse)
    positions[len(coarse) :] += detail
    positions = _on_sphere(positions)
    positions.setflags(write=False)
    return positions


def packed(positions: np.ndarray) -> dict[str, np.ndarray]:
    """Positions of ico6's vertices in some 100 kB a hemisphere.

    Parameters
    ----------
    positions : (hemispheres, 40962, 3) mm

    Returns
    -------
    ``coarse``, (hemispheres, 10242, 3) int16: ico5's vertices in steps of 100 / 32767 mm; ``detail``,
    (hemispheres, 30720, 3) int8: what the others differ from the middle of their neighbours, in .005 mm.
    """
    first = icosphere_vertices(ORDER - 1)
    coarse = np.rint(positions[:, :first] / COARSE_STEP).astype(np.int16)
    between = np.stack([_between_coarse(side * COARSE_STEP)[first:] for side in coarse])
    detail = np.rint((positions[:, first:] - between) / DETAIL_STEP)
    if np.abs(detail).max() > 127:
        raise ValueError("a vertex lies too far from the middle of its neighbours to be packed")
    return {"coarse": coarse, "detail": detail.astype(np.int8)}


def _between_coarse(coarse: np.ndarray) -> np.ndarray:
    """(40962, 3) ico6's vertices from (10242, 3) of ico5: themselves, and the middle of each edge."""
    weights = barycentric_weights(icosphere(ORDER)[0], icosphere(ORDER - 1))
    return _on_sphere(weights @ coarse)


def _on_sphere(points: np.ndarray) -> np.ndarray:
    return points * (RADIUS / np.linalg.norm(points, axis=1, keepdims=True))
