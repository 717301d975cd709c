"""Maps of the cortex in files: GIFTI, CIFTI, a picture, tables by parcel, and a JSON of what they are."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from simdata.common import json_text
from simdata.common.errors import UserError
from simdata.surface.meshes import HEMISPHERES, Mesh
from simtrain.surface.drawing import draw
from simtrain.surface.dscalar import write_dscalar
from simtrain.surface.gifti import read_surface, write_maps, write_sphere
from simtrain.surface.parcels import Parcels, means, table
from simtrain.surface.vertices import resample, sphere

PEAKS, APART = 10, 20.0  # of a hemisphere, and the least mm between two of them on the sphere of 100 mm

Maps = dict[str, np.ndarray]  # name -> (hemispheres, vertices)


class Peak(TypedDict):
    """A vertex, where it lies on the sphere in mm, and its value."""

    vertex: int
    sphere_xyz: list[float]
    value: float


def resampled(maps: Maps, mesh: str) -> dict[str, np.ndarray]:
    """Of each hemisphere (maps, vertices) float32 on ``mesh``, NaN outside the cortex."""
    return {
        hemisphere: resample(np.stack([of_map[side] for of_map in maps.values()]), mesh)
        for side, hemisphere in enumerate(HEMISPHERES)
    }


def read_surfaces(paths: Sequence[Path], mesh: str) -> dict[str, Mesh]:
    """The surfaces of both hemispheres to draw on; without files, the spheres of ``mesh``.

    Raises
    ------
    UserError
        If the files are not one of each hemisphere, on that mesh.
    """
    surfaces = {hemisphere: sphere(mesh, hemisphere) for hemisphere in HEMISPHERES}
    if not paths:
        return surfaces
    given = dict(read_surface(path) for path in paths)
    if len(paths) != len(HEMISPHERES) or given.keys() != surfaces.keys():
        raise UserError(f"`surfaces` {', '.join(map(str, paths))}: give one file of L and one of R")
    for hemisphere, (vertices, _) in given.items():
        if len(vertices) != len(surfaces[hemisphere][0]):
            raise UserError(
                f"`surfaces`: that of {hemisphere} has {len(vertices)} vertices, and {mesh} has "
                f"{len(surfaces[hemisphere][0])}: choose another `mesh`"
            )
    return given


def write(
    folder: Path,
    name: str,
    maps: Maps,
    mesh: str,
    *,
    parcels: Mapping[str, Parcels] | None = None,
    surfaces: Mapping[str, Mesh] | None = None,
    title: str = "",
    label: str = "",
    record: Mapping[str, Any],
) -> None:
    """Write to ``folder`` the maps, as ``name``.dscalar.nii and func.gii, and what goes with them.

    Parameters
    ----------
    maps : on the store's mesh; the first is the one that is drawn, and whose peaks are sought
    mesh : on which to write them
    parcels : for a table of the first map, parcel by parcel, and one of all maps by parcel
    surfaces : on which to draw the first map; None: no picture
    record : what the JSON begins with
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = resampled(maps, mesh)
    for hemisphere in HEMISPHERES:
        write_sphere(folder / f"{hemisphere}.sphere.{mesh}.surf.gii", hemisphere, mesh)
        of_side = dict(zip(maps, values[hemisphere], strict=True))
        write_maps(folder / f"{hemisphere}.{name}.{mesh}.func.gii", of_side, hemisphere)
    write_dscalar(folder / f"{name}.{mesh}.dscalar.nii", list(maps), values)
    first = {hemisphere: of_side[0] for hemisphere, of_side in values.items()}
    if surfaces is not None:
        draw(folder / f"{name}.{mesh}.png", surfaces, first, title, label)
    peaks = {
        hemisphere: find_peaks(first[hemisphere], sphere(mesh, hemisphere)) for hemisphere in HEMISPHERES
    }
    content = {**record, "mesh": mesh, "maps": list(maps), "peaks": peaks}
    if parcels is not None:
        content["parcels"] = table(first, parcels)
        _write_csv(folder / f"{name}.{mesh}.parcels.csv", content["parcels"])
        _write_tsv(folder / f"{name}.{mesh}.maps-by-parcel.tsv", list(maps), means(values, parcels))
    json_text.write(folder / f"{name}.{mesh}.json", content)


def write_parcel_maps(folder: Path, name: str, maps: Maps, parcels: Sequence[str]) -> None:
    """Write maps (1, parcels) of a store of parcels to ``name``.by-parcel.tsv, a column for each parcel."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = dict(zip(parcels, np.concatenate(list(maps.values())).T, strict=True))
    _write_tsv(folder / f"{name}.by-parcel.tsv", list(maps), columns)


def find_peaks(values: np.ndarray, surface: Mesh) -> list[Peak]:
    """The highest vertices of a hemisphere that lie apart, the highest first.

    Parameters
    ----------
    values : (vertices,) float, NaN outside the cortex
    surface : the sphere of the mesh, whose coordinates in mm are given
    """
    vertices, free = surface[0], ~np.isnan(values)
    peaks: list[Peak] = []
    while len(peaks) < PEAKS and free.any():
        highest = int(np.argmax(np.where(free, values, -np.inf)))
        xyz = [round(float(coordinate), 2) for coordinate in vertices[highest]]
        peaks.append({"vertex": highest, "sphere_xyz": xyz, "value": float(values[highest])})
        free &= np.linalg.norm(vertices - vertices[highest], axis=1) >= APART
    return peaks


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["hemisphere", "parcel", "vertices", "mean", "max"])
        writer.writeheader()
        writer.writerows(rows)


def _write_tsv(path: Path, names: Sequence[str], columns: Mapping[str, np.ndarray]) -> None:
    """A row for each map, a column for each parcel."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["map", *columns])
        rows = zip(*columns.values(), strict=True)
        for name, row in zip(names, rows, strict=True):
            writer.writerow([name, *(f"{value:.6g}" for value in row)])
