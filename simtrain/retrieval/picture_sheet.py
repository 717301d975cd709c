"""Sheets of pictures of the film: a row for each window or clip, by matplotlib and without a display."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simtrain.retrieval.figures import DPI

INCH, LABEL = 1.7, 1.0  # a picture's width, and that of the labels
MARK = "#009E73"


@dataclass(frozen=True)
class Shown:
    """A picture (y, x, 3) uint8, what stands below it, and whether it is marked by a frame."""

    frame: np.ndarray
    caption: str = ""
    marked: bool = False


@dataclass(frozen=True)
class SheetRow:
    """What stands left of a row, and its pictures."""

    label: str
    pictures: Sequence[Shown]


def draw_sheet(path: Path, rows: Sequence[SheetRow], columns: Sequence[str], title: str) -> None:
    """Write a PNG; a row may have fewer pictures than there are columns."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    y, x, _ = rows[0].pictures[0].frame.shape
    size = (LABEL + INCH * len(columns), 0.8 + (INCH * y / x + 0.22) * len(rows))
    figure = Figure(size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for of_row, row in zip(axes, rows, strict=True):
        of_row[0].set_ylabel(row.label, rotation=0, ha="right", va="center", fontsize="x-small")
        for axis, shown in zip(of_row, row.pictures, strict=False):
            axis.imshow(shown.frame, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.set_xlabel(shown.caption, fontsize="x-small", labelpad=1)
            if shown.marked:
                for spine in axis.spines.values():
                    spine.set(color=MARK, linewidth=3)
        for axis in of_row[len(row.pictures) :]:
            axis.axis("off")
    for axis, name in zip(axes[0], columns, strict=True):
        axis.set_title(name, fontsize="small")
    figure.suptitle(title, fontsize="small")
    figure.savefig(path, dpi=DPI)
