"""Laying the miniature out on disk as the release is."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.cifti2 import Cifti2Header, Cifti2Matrix, Cifti2MatrixIndicesMap, SeriesAxis
from nibabel.nifti1 import Nifti1Extension

from simdata.bold.nifti import CIFTI_EXTENSION
from simdata.common.errors import UserError
from simdata.release import catalog as catalogs
from simdata.release.catalog import Catalog, Movie
from simdata.synthetic.film import write_film
from simdata.synthetic.grayordinates import brain_models
from simdata.synthetic.latents import scenes
from simdata.synthetic.response import bold, make_subject

FIRST_ID = 990_001
COARSE_EVERY = 2  # so many subjects, one comes as the 2 mm product only
INCOMPLETE_SUBJECT = 3  # this one lacks the last run


def write_demo(
    folder: Path,
    *,
    subjects: int = 9,
    density: str = "59k",
    seed: int = 0,
    catalog: Catalog | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> None:
    """Write ``folder/hcp`` (CIFTI-2 runs) and ``folder/movies`` (mp4) after a catalog (default: "demo").

    As on the disks of labs, one subject lacks a run, and some come as the 2 mm product only.

    Raises
    ------
    UserError
        If the folder holds something already.
    """
    catalog = catalog or catalogs.load("demo")[0]
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is not empty; give a new folder")
    (folder / "movies").mkdir(parents=True)
    for movie in catalog.movies:
        progress(f"{movie.name}: film of {movie.volumes} s")
        write_film(folder / "movies" / movie.video.replace("*", ""), scenes(movie, seed), movie.volumes)
    for number in range(1, subjects + 1):
        mesh = density if number % COARSE_EVERY else "32k"
        runs = catalog.movies[:-1] if number == INCOMPLETE_SUBJECT else catalog.movies
        progress(f"{FIRST_ID + number - 1}: {len(runs)} runs on {mesh} meshes")
        _write_subject(folder / "hcp", catalog, runs, mesh, seed, number)


def _write_subject(
    folder: Path, catalog: Catalog, runs: list[Movie], density: str, seed: int, number: int
) -> None:
    subject = make_subject(density, seed, number)
    # The catalog's first pattern is the fine product, its last the coarse one.
    pattern = catalog.bold[0 if density == "59k" else -1]
    for position, movie in enumerate(runs):
        rng = np.random.default_rng([seed, number, position, 2])
        data = bold(subject, scenes(movie, seed), movie.volumes, brain_models(density).size, rng)
        fields = {"movie": movie.name, "phase_encoding": movie.phase_encoding}
        write_dtseries(folder / pattern.format(subject=FIRST_ID + number - 1, **fields), data, density)


def write_dtseries(path: Path, data: np.ndarray, density: str) -> None:
    """Write (grayordinates, volumes) as CIFTI-2; the file appears under its name when it is whole."""
    matrix = Cifti2Matrix()
    matrix.append(SeriesAxis(0, 1, data.shape[1], "SECOND").to_mapping(0))
    matrix.append(_models_mapping(density))
    # As NIfTI-2 with the CIFTI header as extension, which is what CIFTI-2 is on disk: nibabel's CIFTI image
    # would rebuild the table of all grayordinates for every file.
    image = nib.Nifti2Image(data.T[None, None, None, None], None)
    image.header.set_intent("ConnDenseSeries")
    image.header.extensions.append(Nifti1Extension(CIFTI_EXTENSION, Cifti2Header(matrix).to_xml()))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"writing-{path.name}")
    nib.save(image, temporary)
    os.replace(temporary, path)


@cache
def _models_mapping(density: str) -> Cifti2MatrixIndicesMap:
    return brain_models(density).to_mapping(1)
