"""Maps of two sources, brought to the hemispheres and the mesh that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simdata.common.errors import UserError
from simdata.surface.meshes import HEMISPHERES
from simtrain.surface.gifti import read_surface
from simtrain.surface.map_reading import CorticalMaps
from simtrain.surface.spin_test import with_data
from simtrain.surface.vertices import MESHES, sphere

BOTH = "both"
FEWEST = 100  # vertices, below which nothing is said


@dataclass(frozen=True)
class Meeting:
    """By hemisphere, L first.

    Attributes
    ----------
    maps, others : (maps, vertices) float64, NaN where there is no data
    spheres : (vertices, 3)
    """

    maps: dict[str, np.ndarray]
    others: dict[str, np.ndarray]
    spheres: dict[str, np.ndarray]


def bring_together(
    one: CorticalMaps, other: CorticalMaps, hemispheres: str, spheres: Sequence[Path]
) -> Meeting:
    """What two sources of maps can be compared in.

    Parameters
    ----------
    hemispheres : both, or the one to compare
    spheres : surf.gii of each; none: those of a known mesh

    Raises
    ------
    UserError
        If they share no hemisphere, are on different meshes or on one that is unknown, a surface is no
        sphere of it, or they share too few vertices.
    """
    sides = _shared_sides(one, other, hemispheres)
    maps, others = ({side: source.values[side] for side in sides} for source in (one, other))
    vertices = _vertices(maps, others)
    found = _read_spheres(spheres, sides, vertices) if spheres else _known_spheres(sides, vertices)
    shared = sum(int((with_data(maps[side]) & with_data(others[side])).sum()) for side in sides)
    if shared < FEWEST:
        raise UserError(f"there are only {shared} vertices in which all maps of both have data")
    return Meeting(maps, others, found)


def _shared_sides(one: CorticalMaps, other: CorticalMaps, wanted: str) -> list[str]:
    filled = [
        [side for side in HEMISPHERES if side in source.values and np.isfinite(source.values[side]).any()]
        for source in (one, other)
    ]
    shared = [side for side in filled[0] if side in filled[1] and wanted in (BOTH, side)]
    if not shared:
        of_each = " and ".join(", ".join(sides) or "none" for sides in filled)
        raise UserError(f"`hemispheres` {wanted}: the maps have data in {of_each}")
    return shared


def _vertices(maps: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]) -> int:
    """Of a hemisphere's mesh."""
    counts = {values.shape[1] for source in (maps, others) for values in source.values()}
    if len(counts) > 1:
        raise UserError(
            f"the maps are on meshes of {' and '.join(map(str, sorted(counts)))} vertices: bring them to one "
            "(`simtrain saliency` writes on ico6, 32k or 59k; else `wb_command -metric-resample`)"
        )
    return counts.pop()


def _known_spheres(sides: Sequence[str], vertices: int) -> dict[str, np.ndarray]:
    for mesh in MESHES:
        found = {side: sphere(mesh, side)[0] for side in sides}
        if len(found[sides[0]]) == vertices:
            return found
    raise UserError(
        f"the maps are on a mesh of {vertices} vertices, which is none of {', '.join(MESHES)}: give its "
        "`spheres`, a surf.gii of each hemisphere"
    )


def _read_spheres(paths: Sequence[Path], sides: Sequence[str], vertices: int) -> dict[str, np.ndarray]:
    given = dict(read_surface(path) for path in paths)
    if missing := [side for side in sides if side not in given]:
        raise UserError(f"`spheres`: there is none of {', '.join(missing)}")
    found = {side: given[side][0] for side in sides}
    for side, xyz in found.items():
        if len(xyz) != vertices:
            raise UserError(
                f"`spheres`: that of {side} has {len(xyz)} vertices, and the maps have {vertices}"
            )
        radius = np.linalg.norm(xyz, axis=1)
        if radius.max() > 1.01 * radius.min():
            raise UserError(f"`spheres`: that of {side} is no sphere about 0: give the surf.gii of one")
    return found
