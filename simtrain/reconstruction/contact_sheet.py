"""The contact sheet: reconstructions beside the truth, a row for each window.

matplotlib comes with the optional dependencies ``figures``; nothing here needs a display.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from simtrain.data.dataset import Dataset
from simtrain.data.experiments import EXPERIMENTS
from simtrain.reconstruction.experiment import TRUTH, Panel, ReconstructionResult, ReconstructionSettings
from simtrain.retrieval.picture_sheet import SheetRow, Shown, draw_sheet
from simtrain.retrieval.tables import subject_name


def write_all(
    folder: Path,
    results: Mapping[str, ReconstructionResult],
    dataset: Dataset,
    settings: ReconstructionSettings,
) -> None:
    """``folder``/sheet-EXPERIMENT.png of every experiment that has panels; those of an earlier call go."""
    for name in EXPERIMENTS:
        path = folder / f"sheet-{name}.png"
        path.unlink(missing_ok=True)
        if name in results and results[name].panels:
            write(path, results[name].panels, dataset, f"{name}: {settings}")


def write(path: Path, panels: Sequence[Panel], dataset: Dataset, title: str) -> None:
    """A PNG with the pictures of every panel as the scores saw them, and the SSIM of each below it."""
    note = "below each picture: its SSIM with the truth; the last column is the best single clip by it"
    rows = [_row(panel, dataset) for panel in panels]
    draw_sheet(path, rows, list(panels[0].frames), f"{title}\n{note}")


def _row(panel: Panel, dataset: Dataset) -> SheetRow:
    movie, clip = int(panel.window["movie"]), int(panel.window["clip"])
    scene = dataset.segments.get(int(dataset.segment[movie, clip]), "")
    subject = subject_name(dataset, int(panel.window["subject"]))
    pictures = [
        Shown(frame, caption="" if maker == TRUTH else f"{panel.score[maker]:.2f}")
        for maker, frame in panel.frames.items()
    ]
    return SheetRow(f"{subject}\n{dataset.movies[movie]} {scene}\n{clip} s", pictures)
