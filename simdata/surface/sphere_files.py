"""Spheres from a user's folder (``--spheres``): the real files of HCPpipelines, or of TemplateFlow.

They serve in place of the registration that comes with simdata, and give fs_LR 164k, which has no formula.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simdata.common.checksum import sha256
from simdata.common.errors import UserError
from simdata.common.gifti_file import read_arrays
from simdata.surface.meshes import DIVISIONS, HEMISPHERES, MESH_VERTICES, RADIUS, Mesh, frozen
from simdata.surface.registration import registered

# What the names of files are like; {h} is L or R, {d} the density. The first that is there is taken.
DEFORMED = (
    r"fs_LR-deformed_to-fsaverage\.{h}\.sphere\.{d}_fs_LR\.surf\.gii",
    r"tpl-fsLR_space-fsaverage_(?:hemi-{h}_den-{d}|den-{d}_hemi-{h})_sphere\.surf\.gii",
)
STANDARD = (
    r"fsaverage\.{h}_LR\.spherical_std\.{d}_fs_LR\.surf\.gii",
    r"(?:[^.]+\.)?{h}\.sphere\.{d}_fs_LR\.surf\.gii",
    r"tpl-fsLR_(?:hemi-{h}_den-{d}|den-{d}_hemi-{h})_sphere\.surf\.gii",
)
SUBFOLDERS = ("", "resample_fsaverage")  # of HCPpipelines' global/templates/standard_mesh_atlases


@dataclass(frozen=True)
class SphereFiles:
    """The spheres of a folder, both hemispheres of each.

    Attributes
    ----------
    deformed : "59k" or "32k", and files of ico6's way to fsaverage; None if the folder has none
    standard : files of the fs_LR 164k sphere; None if the folder has none
    """

    deformed: tuple[str, tuple[Path, Path]] | None
    standard: tuple[Path, Path] | None

    @classmethod
    def of(cls, folder: Path) -> SphereFiles:
        """Find the spheres of a folder.

        Raises
        ------
        UserError
            If it is no folder, or has no sphere of both hemispheres.
        """
        if not folder.is_dir():
            raise UserError(f"`spheres` {folder}: is not a folder")
        names = [f"{below}/{name}".lstrip("/") for below in SUBFOLDERS for name in _names(folder / below)]
        deformed = ((density, _pair(folder, names, DEFORMED, density)) for density in DIVISIONS)
        found = next(((density, pair) for density, pair in deformed if pair), None)
        standard = _pair(folder, names, STANDARD, "164k")
        if found is None and standard is None:
            raise UserError(
                f"`spheres` {folder}: has neither fs_LR-deformed_to-fsaverage.L.sphere.59k_fs_LR.surf.gii "
                "(or 32k) nor fsaverage.L_LR.spherical_std.164k_fs_LR.surf.gii, and their R: give "
                "HCPpipelines' global/templates/standard_mesh_atlases, or TemplateFlow's tpl-fsLR"
            )
        return cls(found, standard)

    def registered(self, hemisphere: str) -> np.ndarray | None:
        """Where ico6's vertices lie on fsaverage's sphere, (40962, 3) mm; None without such a file."""
        if self.deformed is None:
            return None
        density, pair = self.deformed
        return registered(density, _read(pair[HEMISPHERES.index(hemisphere)], density)[0])

    def fs_lr_164k(self, hemisphere: str) -> Mesh | None:
        """The fs_LR 164k sphere of a hemisphere; None without such a file."""
        return None if self.standard is None else _read(self.standard[HEMISPHERES.index(hemisphere)], "164k")

    def identity(self) -> dict[str, str]:
        """Name of each file -> its sha256."""
        pairs = [self.deformed[1] if self.deformed else (), self.standard or ()]
        return {path.name: sha256(path) for pair in pairs for path in pair}


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _pair(
    folder: Path, names: list[str], patterns: tuple[str, ...], density: str
) -> tuple[Path, Path] | None:
    """The files of both hemispheres by the first pattern that both have one of."""
    for pattern in patterns:
        left, right = (list(_named(names, pattern.format(h=h, d=density))) for h in HEMISPHERES)
        if left and right:
            return folder / left[0], folder / right[0]
    return None


def _named(names: list[str], pattern: str) -> Iterator[str]:
    return (name for name in names if re.fullmatch(pattern, name.split("/")[-1]))


def _read(path: Path, density: str) -> Mesh:
    """A sphere, brought to the radius of all."""
    arrays = {
        head.intent: values for head, values in read_arrays(path) if head.intent in ("POINTSET", "TRIANGLE")
    }
    if set(arrays) != {"POINTSET", "TRIANGLE"}:
        raise UserError(f"{path}: is no surface (it needs a POINTSET and a TRIANGLE array)")
    vertices, faces = np.asarray(arrays["POINTSET"], np.float64), np.asarray(arrays["TRIANGLE"])
    count = MESH_VERTICES[density]
    if vertices.shape != (count, 3) or faces.shape != (2 * count - 4, 3):
        raise UserError(f"{path}: has {len(vertices):,} vertices; {density} has {count:,}")
    length = np.linalg.norm(vertices, axis=1, keepdims=True)
    if not np.isfinite(length).all() or length.min() < 0.99 * length.max() or not length.any():
        raise UserError(
            f"{path}: is no sphere around 0: its vertices lie {length.min():g} to {length.max():g} away"
        )
    if faces.dtype.kind not in "iu" or faces.min() < 0 or faces.max() >= count:
        raise UserError(f"{path}: has triangles of vertices that are not there")
    return frozen(vertices * (RADIUS / length), faces)
