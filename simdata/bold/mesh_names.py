"""Which mesh a file of one hemisphere is on, by its number of vertices and its name."""

from __future__ import annotations

import re
from pathlib import Path

from simdata.common.errors import UserError
from simdata.surface.meshes import MESH_VERTICES

FAMILIES = {
    "fs_LR": re.compile(r"fs_?LR", re.IGNORECASE),
    "fsaverage": re.compile(r"fsaverage|fsavg", re.IGNORECASE),
}


def mesh_of(path: Path, vertices: int) -> str | None:
    """The mesh of so many vertices; None if there are several and the file's name does not tell which.

    fs_LR 164k and fsaverage7 have 163,842 both: ``space-fsLR``, ``164k_fs_LR`` or ``space-fsaverage`` tell.

    Raises
    ------
    UserError
        If no known mesh has so many, or the name says another one.
    """
    fitting = {mesh: family_of(mesh) for mesh, count in MESH_VERTICES.items() if count == vertices}
    if not fitting:
        known = ", ".join(f"{count:,} ({mesh})" for mesh, count in MESH_VERTICES.items())
        raise UserError(
            f"{path}: has {vertices:,} vertices; known are {known}. A subject's own mesh (fsnative) is "
            "brought to fsaverage6 by `fmriprep --output-spaces fsaverage6`, or FreeSurfer's mri_surf2surf"
        )
    said = [family for family, words in FAMILIES.items() if words.search(path.name)]
    if len(said) == 1:
        fitting = {mesh: family for mesh, family in fitting.items() if family in said}
        if not fitting:
            raise UserError(f"{path}: has {vertices:,} vertices, and no mesh of {said[0]} has so many")
    return next(iter(fitting)) if len(fitting) == 1 else None


def family_of(mesh: str) -> str:
    return "fsaverage" if mesh.startswith("fsaverage") else "fs_LR"
