"""The contact sheet: reconstructions beside the truth, a row for each window.

matplotlib comes with the optional dependencies ``figures``; nothing here needs a display.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from simtrain.data.dataset import Dataset
from simtrain.data.windows import EXPERIMENTS
from simtrain.reconstruction.experiment import TRUTH, Panel, ReconstructionResult, ReconstructionSettings
from simtrain.retrieval.figures import DPI
from simtrain.retrieval.tables import subject_name

INCH, LABEL = 1.7, 1.0  # a picture's width, and that of the labels


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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    makers = list(panels[0].frames)
    y, x, _ = panels[0].frames[TRUTH].shape
    size = (LABEL + INCH * len(makers), 0.8 + (INCH * y / x + 0.22) * len(panels))
    figure = Figure(size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), len(makers), squeeze=False)
    for row, panel in zip(axes, panels, strict=True):
        movie, clip = int(panel.window["movie"]), int(panel.window["clip"])
        scene = dataset.segments.get(int(dataset.segment[movie, clip]), "")
        subject = subject_name(dataset, int(panel.window["subject"]))
        label = f"{subject}\n{dataset.movies[movie]} {scene}\n{clip} s"
        row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize="x-small")
        for axis, maker in zip(row, makers, strict=True):
            axis.imshow(panel.frames[maker], interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            if maker != TRUTH:
                axis.set_xlabel(f"{panel.score[maker]:.2f}", fontsize="x-small", labelpad=1)
    for axis, maker in zip(axes[0], makers, strict=True):
        axis.set_title(maker, fontsize="small")
    note = "below each picture: its SSIM with the truth; the last column is the best single clip by it"
    figure.suptitle(f"{title}\n{note}", fontsize="small")
    figure.savefig(path, dpi=DPI)
