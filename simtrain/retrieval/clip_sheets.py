"""The best and worst retrieved clips in files: a table, and pictures beside those of what was retrieved."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simtrain.data.dataset import Dataset
from simtrain.data.film_frames import read_frames
from simtrain.retrieval.best_and_worst import BEST, TOP, WORST, Clip, RankedClip
from simtrain.retrieval.picture_sheet import SheetRow, Shown, draw_sheet

NAMES = ("best_and_worst.csv", *(f"{which}-*.png" for which in (BEST, WORST)))
NOTE = "below a picture: where it is from, and the cosine; framed: the clip that was seen"


def write(folder: Path, found: Mapping[str, Sequence[RankedClip]], dataset: Dataset, title: str) -> None:
    """Write ``folder``/best_and_worst.csv, and best-EXPERIMENT.png and worst-EXPERIMENT.png."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = table(found, dataset)
    with (folder / NAMES[0]).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for name, ranked in found.items():
        for which in (BEST, WORST):
            own = [clip for clip in ranked if clip.which == which]
            if own:
                told = f"{name}, {which} retrieved clips: {title}\n{NOTE}"
                columns = ["seen", *(f"retrieved {place}" for place in range(1, TOP + 1))]
                sheet = [_row(clip, dataset) for clip in own]
                draw_sheet(folder / f"{which}-{name}.png", sheet, columns, told)


def remove(folder: Path) -> None:
    """Remove what an earlier call left."""
    for pattern in NAMES:
        for path in folder.glob(pattern):
            path.unlink()


def table(found: Mapping[str, Sequence[RankedClip]], dataset: Dataset) -> list[dict[str, Any]]:
    """A row for each retrieved clip of each chosen one; ``clip_second`` is that of the one that was seen."""
    return [
        {
            "experiment": name,
            "which": ranked.which,
            "movie": dataset.movies[ranked.clip.movie],
            "clip": _segment(ranked.clip, dataset),
            "clip_second": ranked.clip.second,
            "rank": ranked.rank,
            "candidates": ranked.candidates,
            "share_before": ranked.share,
            "windows": ranked.windows,
            "subjects": " ".join(ranked.subjects),
            "place": place,
            "retrieved_movie": dataset.movies[retrieved.movie],
            "retrieved_second": retrieved.second,
            "cosine": retrieved.similarity,
        }
        for name, of_name in found.items()
        for ranked in of_name
        for place, retrieved in enumerate(ranked.retrieved, 1)
    ]


def _row(ranked: RankedClip, dataset: Dataset) -> SheetRow:
    clips = [ranked.clip, *ranked.retrieved]
    movie, second = (np.array([getattr(clip, name) for clip in clips]) for name in ("movie", "second"))
    frames = read_frames(dataset, movie, second + ranked.middle)
    of = ranked.subjects[0] if len(ranked.subjects) == 1 else f"{len(ranked.subjects)} subjects"
    label = (
        f"{dataset.movies[ranked.clip.movie]} {_segment(ranked.clip, dataset)}\n{ranked.clip.second} s\n"
        f"rank {ranked.rank:.3g} of {ranked.candidates:.3g}\n{of}, windows: {ranked.windows}"
    )
    true = (ranked.clip.movie, ranked.clip.second)
    pictures = [Shown(frames[0])] + [
        Shown(
            frame,
            f"{dataset.movies[clip.movie]} {clip.second} s, {clip.similarity:.2f}",
            (clip.movie, clip.second) == true,
        )
        for clip, frame in zip(ranked.retrieved, frames[1:], strict=True)
    ]
    return SheetRow(label, pictures)


def _segment(clip: Clip, dataset: Dataset) -> str:
    return dataset.segments.get(int(dataset.segment[clip.movie, clip.second]), "")
