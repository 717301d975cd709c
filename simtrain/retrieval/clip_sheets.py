"""The best and worst retrieved clips in files: a table, and sheets of them beside what was retrieved.

A clip is shown by the thumbnail in its middle; where its film has no pictures, by its sound; and where the
store has neither, by its time alone.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simtrain.data.dataset import Dataset
from simtrain.data.film_frames import films_with, read_frames, read_sound
from simtrain.retrieval.best_and_worst import BEST, TOP, WORST, Clip, RankedClip
from simtrain.retrieval.picture_sheet import SheetRow, Shown, draw_sheet

NAMES = ("best_and_worst.csv", *(f"{which}-*.png" for which in (BEST, WORST)))
NOTE = "below a clip: where it is from, and the cosine; framed: the clip that was seen"


def write(folder: Path, found: Mapping[str, Sequence[RankedClip]], dataset: Dataset, title: str) -> None:
    """Write ``folder``/best_and_worst.csv, and best-EXPERIMENT.png and worst-EXPERIMENT.png."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, excerpts = table(found, dataset), _Excerpts(dataset)
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
                sheet = [_row(clip, dataset, excerpts) for clip in own]
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


def _row(ranked: RankedClip, dataset: Dataset, excerpts: _Excerpts) -> SheetRow:
    clips = [ranked.clip, *ranked.retrieved]
    parts = [excerpts.of(clip, ranked.length) for clip in clips]
    of = ranked.subjects[0] if len(ranked.subjects) == 1 else f"{len(ranked.subjects)} subjects"
    label = (
        f"{dataset.movies[ranked.clip.movie]} {_segment(ranked.clip, dataset)}\n{ranked.clip.second} s\n"
        f"rank {ranked.rank:.3g} of {ranked.candidates:.3g}\n{of}, windows: {ranked.windows}"
    )
    true = (ranked.clip.movie, ranked.clip.second)
    pictures = [Shown(*parts[0])] + [
        Shown(
            *part,
            f"{dataset.movies[clip.movie]} {clip.second} s, {clip.similarity:.2f}",
            (clip.movie, clip.second) == true,
        )
        for clip, part in zip(ranked.retrieved, parts[1:], strict=True)
    ]
    return SheetRow(label, pictures)


class _Excerpts:
    """What stands for a clip."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._pictured, self._heard = (films_with(dataset, modality) for modality in ("video", "audio"))

    def of(self, clip: Clip, length: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The picture in the middle of a clip of ``length`` s, or else its sound, or neither."""
        if self._pictured[clip.movie]:
            movie, second = np.array([clip.movie]), np.array([clip.second + length // 2])
            return read_frames(self._dataset, movie, second)[0], None
        if self._heard[clip.movie]:
            return None, read_sound(self._dataset, clip.movie, clip.second, length)
        return None, None


def _segment(clip: Clip, dataset: Dataset) -> str:
    return dataset.segments.get(int(dataset.segment[clip.movie, clip.second]), "")
