"""Saliency in files: GIFTI, CIFTI, a picture, a table by parcel, and a JSON of what it is."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from simdata.common import json_text
from simdata.common.checksum import sha256
from simdata.common.errors import UserError
from simdata.surface.meshes import HEMISPHERES, Mesh
from simtrain.attribution.maps import Attributions
from simtrain.attribution.methods import Method
from simtrain.data.dataset import Dataset
from simtrain.retrieval.selection import Selection
from simtrain.surface import drawing as surface_figures
from simtrain.surface.dscalar import write_dscalar
from simtrain.surface.gifti import read_surface, write_maps, write_sphere
from simtrain.surface.parcels import Parcels, table
from simtrain.surface.vertices import resample, sphere
from simtrain.training import checkpoint
from simtrain.training.run_folder import FitRun
from simtrain.training.software import software_versions

MEAN, RANDOM = "mean", "mean, random weights"
PEAKS, APART = 10, 20.0  # of a hemisphere, and the least mm between two of them on the sphere of 100 mm

Maps = dict[str, np.ndarray]  # name -> (hemispheres, vertices)


class Peak(TypedDict):
    """A vertex, where it lies on the sphere in mm, and its value."""

    vertex: int
    sphere_xyz: list[float]
    value: float


def named_maps(saliency: Attributions, random: Attributions | None, by_frame: bool) -> Maps:
    """The mean, that of random weights where there are any, of each frame if wanted, and each subject's."""
    maps = {MEAN: saliency.mean}
    if random is not None:
        maps[RANDOM] = random.mean
    if by_frame:
        maps |= {f"frame {number}": frame for number, frame in enumerate(saliency.values.mean(axis=0))}
    return maps | dict(zip(saliency.subjects, saliency.values.sum(axis=1), strict=True))


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
    maps : on the store's mesh
    mesh : on which to write them
    parcels : for a table of the mean map
    surfaces : on which to draw the mean map; None: no picture
    record : what the JSON begins with
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        hemisphere: resample(np.stack([of_map[side] for of_map in maps.values()]), mesh)
        for side, hemisphere in enumerate(HEMISPHERES)
    }
    for hemisphere in HEMISPHERES:
        write_sphere(folder / f"{hemisphere}.sphere.{mesh}.surf.gii", hemisphere, mesh)
        of_side = dict(zip(maps, values[hemisphere], strict=True))
        write_maps(folder / f"{hemisphere}.{name}.{mesh}.func.gii", of_side, hemisphere)
    write_dscalar(folder / f"{name}.{mesh}.dscalar.nii", list(maps), values)
    mean = {hemisphere: of_side[0] for hemisphere, of_side in values.items()}
    if surfaces is not None:
        surface_figures.draw(folder / f"{name}.{mesh}.png", surfaces, mean, title, label)
    peaks = {hemisphere: find_peaks(mean[hemisphere], sphere(mesh, hemisphere)) for hemisphere in HEMISPHERES}
    content = {**record, "mesh": mesh, "maps": list(maps), "peaks": peaks}
    if parcels is not None:
        content["parcels"] = table(mean, parcels)
        _write_csv(folder / f"{name}.{mesh}.parcels.csv", content["parcels"])
    json_text.write(folder / f"{name}.{mesh}.json", content)


def record(
    run: FitRun, dataset: Dataset, method: Method, selection: Selection, saliency: Attributions
) -> dict[str, Any]:
    """What the maps are, for the JSON."""
    chosen = asdict(selection)
    if selection.seconds is not None:
        chosen["seconds"] = [selection.seconds[0], selection.seconds[-1]]
    return {
        "method": asdict(method),
        "selection": chosen,
        "windows": dict(zip(saliency.subjects, saliency.windows, strict=True)),
        "incomplete": saliency.incomplete,
        "run": str(run.path.absolute()),
        "weights_sha256": sha256(checkpoint.tested_file(run.checkpoint)),
        "store": dataset.identity,
        "software": software_versions(),
    }


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
