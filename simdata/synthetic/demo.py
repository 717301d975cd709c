"""Laying a miniature out on disk as the release is."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.cifti2 import Cifti2Header, Cifti2Matrix, Cifti2MatrixIndicesMap, SeriesAxis
from nibabel.nifti1 import Nifti1Extension

from simdata.bold.nifti import CIFTI_EXTENSION
from simdata.common.errors import UserError
from simdata.release import catalog as catalogs
from simdata.release.catalog import Catalog
from simdata.synthetic.film import write_film
from simdata.synthetic.grayordinates import brain_models
from simdata.synthetic.miniature import Miniature
from simdata.synthetic.quickstart import Quickstart
from simdata.synthetic.study.generator import Study
from simdata.synthetic.study.properties import remaining

FIRST_ID = 990_001
COARSE_EVERY = 2  # so many subjects, one comes as the 2 mm product only
INCOMPLETE_SUBJECT = 3  # this one lacks the last run


@dataclass(frozen=True)
class Kind:
    """The catalog and usual size of a kind of miniature; ``gaps``: whether runs are missing, as at labs."""

    catalog: str
    subjects: int
    density: str
    gaps: bool


KINDS = {"quickstart": Kind("demo", 9, "59k", gaps=True), "study": Kind("demo-study", 20, "32k", gaps=False)}


def write_demo(
    folder: Path,
    *,
    kind: str = "quickstart",
    without: Collection[str] = (),
    subjects: int | None = None,
    density: str | None = None,
    seed: int = 0,
    catalog: Catalog | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> None:
    """Write ``folder/hcp`` (CIFTI-2 runs) and ``folder/movies`` (mp4).

    Parameters
    ----------
    folder : Path
        A new or empty folder.
    kind : {"quickstart", "study"}
        The first is learnt in a minute, and has a subject that lacks a run and some that come as the 2 mm
        product only. The second is for the comparison of methods: docs/demo.md.
    without : collection of str
        Properties of ``study`` to turn off, as `simdata.synthetic.study.properties` names them, or ``all``.
    subjects : int, optional
        None: 9, or 20 for ``study``.
    density : {"59k", "32k"}, optional
        Meshes; None: 59k, or 32k for ``study``.
    seed : int
        Of all that is drawn: the same seed gives the same files.
    catalog : Catalog, optional
        None: the catalog "demo", or "demo-study".
    progress : callable
        Hears a line for each film and subject.

    Raises
    ------
    UserError
        If the folder holds something already, or ``without`` names what there is not.

    Examples
    --------
    >>> write_demo(Path("release"), kind="study", without=["warp"], subjects=6)
    """
    if kind not in KINDS:
        raise UserError(f"`kind` is {kind!r}: choose one of {', '.join(KINDS)}")
    if without and kind != "study":
        raise UserError("`without` turns off properties of `kind` study: give that kind, or no `without`")
    chosen = KINDS[kind]
    catalog = catalog or catalogs.load(chosen.catalog)[0]
    miniature = Quickstart(catalog, seed) if kind == "quickstart" else Study(seed, remaining(without))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is not empty; give a new folder")
    (folder / "movies").mkdir(parents=True)
    for movie in catalog.movies:
        progress(f"{movie.name}: film of {movie.length} s")
        footage = miniature.footage(movie)
        write_film(folder / "movies" / movie.video.replace("*", ""), footage, movie.length)
    for number in range(1, (subjects or chosen.subjects) + 1):
        mesh, runs = density or chosen.density, catalog.movies
        if chosen.gaps:
            mesh = mesh if number % COARSE_EVERY else "32k"
            runs = runs[:-1] if number == INCOMPLETE_SUBJECT else runs
        progress(f"{FIRST_ID + number - 1}: {len(runs)} runs on {mesh} meshes")
        here = catalog.model_copy(update={"movies": runs})
        _write_subject(folder / "hcp", here, miniature, mesh, number)


def _write_subject(folder: Path, catalog: Catalog, miniature: Miniature, density: str, number: int) -> None:
    scanned = miniature.subject(density, number)
    # The catalog's first pattern is the fine product, its last the coarse one.
    pattern = catalog.patterns[0 if density == "59k" else -1]
    for movie in catalog.movies:
        fields = {"movie": movie.name, "phase_encoding": movie.phase_encoding}
        path = folder / pattern.format(subject=FIRST_ID + number - 1, **fields)
        write_dtseries(path, scanned(movie), density)


def write_dtseries(path: Path, data: np.ndarray, density: str, tr: float = 1) -> None:
    """Write (grayordinates, volumes) as CIFTI-2, of a TR in s; the file appears when it is whole."""
    matrix = Cifti2Matrix()
    matrix.append(SeriesAxis(0, tr, data.shape[1], "SECOND").to_mapping(0))
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
