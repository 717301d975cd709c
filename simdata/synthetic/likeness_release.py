"""Writing a miniature of another lab's data set: its layout, and a response planted by its clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from simdata.common.errors import UserError
from simdata.release.catalog import Segment
from simdata.release.sources import Play
from simdata.surface.barycentric import barycentric_weights
from simdata.surface.fsaverage import fsaverage_sphere
from simdata.surface.meshes import HEMISPHERES, fs_lr_sphere, icosphere
from simdata.surface.registration import shipped
from simdata.synthetic.demo import write_dtseries
from simdata.synthetic.film import write_film, write_wav
from simdata.synthetic.grayordinates import MEDIAL, brain_models, cortex_vertices
from simdata.synthetic.latents import Scene, scenes_of_clip
from simdata.synthetic.likeness import LIKENESSES, Likeness, Screening
from simdata.synthetic.response import Subject, recorded, response_in_scan, subject_at
from simdata.synthetic.scan_files import (
    confounds,
    frame_events,
    write_gifti,
    write_sidecar,
    write_story_events,
    write_table,
)
from simdata.synthetic.stimuli import footage

OF_CSF = 60.0  # s.d. of what CSF's signal adds to BOLD, in scanner units
WALL = 0.09  # share of a hemisphere that is medial wall


def write_like(
    folder: Path,
    name: str,
    *,
    subjects: int | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda message: None,
) -> None:
    """Write ``folder/bids`` and ``folder/movies`` in the layout of a data set.

    Parameters
    ----------
    folder : Path
        A new or empty folder.
    name : str
        Of a catalog: cneuromod-friends, narratives, studyforrest or budapest.
    subjects : int, optional
        At most 4, which there are by default.
    seed : int
        Of all that is drawn: the same seed gives the same files.
    progress : callable
        Hears a line for each film and subject.

    Raises
    ------
    UserError
        If the folder holds something already, or there is no such miniature.
    """
    if name not in LIKENESSES:
        raise UserError(f"`like` is {name!r}: choose one of {', '.join(LIKENESSES)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is not empty; give a new folder")
    like = LIKENESSES[name]
    if subjects is not None and not 1 <= subjects <= len(like.subjects):
        raise UserError(f"`subjects` is {subjects}: {name} has 1 to {len(like.subjects)} in its miniature")
    for screening in like.screenings:
        progress(f"{screening.movie}: film of {like.seconds} s")
        _write_film(folder / "movies" / screening.file, scenes_of(screening, like, seed), like)
    for number, label in enumerate(like.subjects[:subjects], start=1):
        progress(f"sub-{label}: {len(like.screenings)} scans, TR {like.tr:g} s, {like.mesh}")
        subject = subject_at(places(like.mesh), seed, number)
        for screening in like.screenings:
            _write_scan(folder / "bids", like, screening, number, subject, seed)


def scenes_of(screening: Screening, like: Likeness, seed: int) -> list[Scene]:
    """What a film shows, from its beginning to its end."""
    return scenes_of_clip(Segment(name=screening.movie, start=0, stop=like.seconds), seed)


@cache
def places(mesh: str) -> Mapping[str, np.ndarray]:
    """Where a mesh's vertices lie on the left fs_LR sphere; the right hemisphere's mirrored onto it.

    Of "32k" those of the cortex, of fsaverage all.
    """
    if mesh == "32k":
        return {h: fs_lr_sphere(mesh, "L")[0][cortex_vertices(mesh, h)] for h in HEMISPHERES}
    vertices, (sphere, faces) = fsaverage_sphere(mesh)[0], icosphere(6)
    found = {}
    for hemisphere in HEMISPHERES:
        on_fs_lr = barycentric_weights(vertices, (shipped(hemisphere), faces)) @ sphere
        found[hemisphere] = 100 * on_fs_lr / np.linalg.norm(on_fs_lr, axis=1, keepdims=True)
    return found


def play_of(screening: Screening, like: Likeness) -> Play:
    return Play(screening.onset, 0.0, float(like.seconds))


def _write_film(path: Path, film: list[Scene], like: Likeness) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = footage(film, like.seconds)
    if path.suffix == ".wav":
        write_wav(path, shown.sound)
    else:
        write_film(path, shown, like.seconds)


def _write_scan(
    root: Path, like: Likeness, screening: Screening, number: int, subject: Subject, seed: int
) -> None:
    """All files of a scan."""
    place = like.screenings.index(screening)
    label, play = like.subjects[number - 1], play_of(screening, like)
    session = like.sessions[label][place] if like.sessions else None
    folder = Path(f"sub-{label}", *([f"ses-{session}"] if session else []), "func")
    scan = "_".join([f"sub-{label}", *([f"ses-{session}"] if session else []), screening.task])
    volumes = math.ceil((screening.onset + like.seconds) / like.tr) + like.after[number - 1]
    rng = np.random.default_rng([seed, number, place, 3])
    film = [(scenes_of(screening, like, seed), play)]
    response = response_in_scan(film, volumes, like.tr, subject.delay, like.modalities)
    rows = brain_models("32k").size if like.mesh == "32k" else len(subject.maps)
    data = recorded(subject, response, rows, rng)
    derived = root / like.derivative / folder
    if like.confounds:
        columns = confounds(volumes, rng)
        data += np.outer(OF_CSF * rng.standard_normal(rows), columns["csf"]).astype(np.float32)
        write_table(derived / f"{scan}_{like.confounds}", columns)
    _write_bold(derived / f"{scan}_{like.bold}", data, like)
    events = root / folder / f"{scan}_events.tsv"
    if like.frame_events:
        write_table(events, frame_events(play, like.seconds))
    elif like.modalities == ("audio",):
        write_story_events(events, play, like.seconds, screening.file)


def _write_bold(path: Path, data: np.ndarray, like: Likeness) -> None:
    if like.mesh == "32k":
        write_dtseries(path, data, like.mesh, like.tr)
        write_sidecar(path.with_name(path.name.removesuffix(".dtseries.nii") + ".json"), like.tr)
        return
    for hemisphere, values in zip(HEMISPHERES, np.split(data, 2), strict=True):
        values[_medial_wall(like.mesh, hemisphere)] = like.medial_wall
        file = path.with_name(path.name.format(hemi=hemisphere))
        write_gifti(file, np.ascontiguousarray(values.T), hemisphere, like.tr)


def _medial_wall(mesh: str, hemisphere: str) -> np.ndarray:
    """The most medial vertices, as `simdata.synthetic.grayordinates` has them."""
    inwards = places(mesh)[hemisphere] @ np.array(MEDIAL)
    return inwards > np.quantile(inwards, 1 - WALL)
