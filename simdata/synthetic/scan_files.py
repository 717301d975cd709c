"""Files of a scan as fMRIPrep writes them: GIFTI, sidecars, confounds; and its events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiMetaData

from simdata.release.sources import Play
from simdata.surface.structures import IN_GIFTI

MOTION = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
FORMS = ("", "_derivative1", "_power2", "_derivative1_power2")
TISSUES = ("csf", "white_matter", "global_signal")
FRAME_RATE = 25.0


def write_gifti(path: Path, values: np.ndarray, hemisphere: str, tr: float) -> None:
    """Write (volumes, vertices) of a hemisphere, a data array for each volume."""
    said = {"AnatomicalStructurePrimary": IN_GIFTI[hemisphere], "TimeStep": f"{1000 * tr:.6f}"}
    arrays = [GiftiDataArray(volume, "NIFTI_INTENT_TIME_SERIES", "NIFTI_TYPE_FLOAT32") for volume in values]
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(GiftiImage(darrays=arrays, meta=GiftiMetaData(said)), path)


def write_sidecar(path: Path, tr: float) -> None:
    """What fMRIPrep says of BOLD whose slices were not shifted in time."""
    path.write_text(json.dumps({"RepetitionTime": tr, "SliceTimingCorrected": False}, indent=2))


def confounds(volumes: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Motion in four forms, signals of tissues, and framewise displacement, by the names of fMRIPrep."""
    walk = np.cumsum(rng.standard_normal((6, volumes)) * 0.01, axis=1)
    steps = np.concatenate([np.full((6, 1), np.nan), np.diff(walk, axis=1)], axis=1)
    columns = {name: rng.standard_normal(volumes) for name in TISSUES}
    for form, values in zip(FORMS, (walk, steps, walk**2, steps**2), strict=True):
        columns |= {name + form: row for name, row in zip(MOTION, values, strict=True)}
    return columns | {"framewise_displacement": np.abs(steps).sum(axis=0)}


def write_table(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Write columns as BIDS has tables: tabs between them, and n/a for NaN."""
    lines = ["\t".join(columns)]
    for row in zip(*columns.values(), strict=True):
        lines.append("\t".join("n/a" if value != value else f"{value:.6f}" for value in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def frame_events(play: Play, seconds: float) -> dict[str, np.ndarray]:
    """An event for each picture of a film, with its film time, as StudyForrest has them."""
    film = play.film_start + np.arange(round(seconds * FRAME_RATE)) / FRAME_RATE
    onset = play.onset + film - play.film_start
    return {
        "onset": onset,
        "duration": np.full(len(film), 1 / FRAME_RATE),
        "frameidx": np.arange(len(film), dtype=float),
        "videotime": film,
    }


def write_story_events(path: Path, play: Play, seconds: float, file: str) -> None:
    """An event for a story, as Narratives has it."""
    lines: Sequence[str] = (
        "onset\tduration\ttrial_type\tstim_file",
        f"{play.onset}\t{float(seconds)}\tstory\t{file}",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
