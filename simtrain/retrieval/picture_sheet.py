"""Sheets of the film, pictures or sound: a row for each window or clip, by matplotlib, without display."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simtrain.retrieval.figures import DPI

INCH, LABEL = 1.7, 1.0  # a picture's width, and that of the labels
WITHOUT_PICTURES = (9, 16)  # y, x
FULL_SCALE = 2**15  # of sound
MARK = "#009E73"


@dataclass(frozen=True)
class Shown:
    """A picture, or sound in its place, what stands below it, and whether it is marked by a frame.

    Attributes
    ----------
    frame : (y, x, 3) uint8
    sound : (samples,) int16
    """

    frame: np.ndarray | None = None
    sound: np.ndarray | None = None
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

    frames = [shown.frame for row in rows for shown in row.pictures if shown.frame is not None]
    y, x = frames[0].shape[:2] if frames else WITHOUT_PICTURES
    size = (LABEL + INCH * len(columns), 0.8 + (INCH * y / x + 0.22) * len(rows))
    figure = Figure(size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for of_row, row in zip(axes, rows, strict=True):
        of_row[0].set_ylabel(row.label, rotation=0, ha="right", va="center", fontsize="x-small")
        for axis, shown in zip(of_row, row.pictures, strict=False):
            if shown.frame is not None:
                axis.imshow(shown.frame, interpolation="nearest")
            elif shown.sound is not None:
                axis.plot(shown.sound, color="0.3", linewidth=0.3, rasterized=True)
                axis.set(xlim=(0, len(shown.sound)), ylim=(-FULL_SCALE, FULL_SCALE))
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
