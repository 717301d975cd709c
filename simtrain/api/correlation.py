"""Maps of the cortex correlated with reference maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from simdata.common import json_text
from simdata.common.errors import UserError
from simdata.common.local_path import local
from simdata.surface.meshes import HEMISPHERES
from simtrain.common.choices import must_be_at_least, must_be_one_of
from simtrain.surface.map_reading import CorticalMaps, read_maps
from simtrain.surface.meeting import BOTH, bring_together
from simtrain.surface.spin_test import STATISTICS, SpinTest, spin_test

MapLike = str | PathLike[str] | Sequence[str | PathLike[str]] | xr.DataArray


@dataclass(frozen=True)
class Correlations:
    """What `correlate` returns.

    Attributes
    ----------
    metrics : a row for each map and reference: ``r``, and ``p`` by the spin test, two-sided, not corrected
        for the number of rows
    nulls : (rotation, map, reference), the correlations of turned maps
    settings : name of a parameter -> value; ``vertices`` is how many were compared, in all hemispheres
    """

    metrics: pd.DataFrame
    nulls: xr.DataArray
    settings: dict[str, Any]

    def save(self, path: str | PathLike[str]) -> None:
        """Write ``metrics`` and ``settings`` as JSON."""
        rows = self.metrics.to_dict(orient="records")
        json_text.write(local(path, "path"), {**self.settings, "metrics": rows})

    def __repr__(self) -> str:
        count = self.settings["vertices"]
        return f"<Correlations of {len(self.metrics)} pairs of maps over {count} vertices>"


def correlate(
    map: MapLike,
    reference: MapLike,
    *,
    maps: Sequence[str] = (),
    references: Sequence[str] = (),
    statistic: str = "pearson",
    hemispheres: str = BOTH,
    rotations: int = 1000,
    seed: int = 0,
    spheres: Sequence[str | PathLike[str]] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Correlations:
    """Correlate maps of the cortex with reference maps, with a p-value by the spin test.

    Over the vertices in which all maps of both have data. The test (Alexander-Bloch et al. 2018) turns the
    sphere of ``map`` and correlates again, which keeps how smooth it is: see `simtrain.surface.spin_test`.

    Parameters
    ----------
    map, reference : str, PathLike[str], two of them, or DataArray
        A dscalar.nii, or the func.gii or shape.gii of one hemisphere, or of L and of R (vertices with 0 in
        all maps of a GIFTI file are taken to have no data); or an array (hemisphere, vertex), with another
        axis before these if there are several maps, such as ``simtrain.saliency(...).mean``.
    maps, references : sequence of str
        Only those of these names; none: all, each with each.
    statistic : {"pearson", "spearman"}
        Of the values, or of their ranks over the vertices.
    hemispheres : {"both", "L", "R"}
        Compare all that both have, or one.
    rotations : int
        Random ones, of which the p-value is a share: no less than 1 / (1 + rotations).
    seed : int
        Of the rotations.
    spheres : sequence of str or PathLike[str]
        The surf.gii of each hemisphere's sphere; none: that of the mesh, which is known by its number of
        vertices: ``ico6``, the store's, and HCP's ``32k`` and ``59k``.
    progress : callable
        Called with the number of rotations done, and of all.

    Returns
    -------
    Correlations
        Its ``metrics`` are a table.

    Raises
    ------
    UserError
        If a file is of another kind, the maps are on different meshes or share too few vertices, a name is
        unknown, or a map is the same at all vertices.

    Examples
    --------
    >>> found = simtrain.saliency(run, store, method="rollout", windows=2, device="cpu", save=False)
    >>> alike = simtrain.correlate(found.mean, found.maps.sum("frame"), rotations=19)
    >>> alike.metrics.columns.tolist()
    ['map', 'reference', 'r', 'p']
    >>> alike.metrics.reference.tolist()
    ['s5', 's6']
    >>> bool((alike.metrics.r > 0.5).all())
    True
    """
    must_be_one_of("statistic", statistic, STATISTICS)
    must_be_one_of("hemispheres", hemispheres, (BOTH, *HEMISPHERES))
    for name, value in {"rotations": rotations, "seed": seed}.items():
        must_be_at_least(name, value, 1 if name == "rotations" else 0)
    one = _opened(map, "map").chosen(maps, _named(map, "map"))
    other = _opened(reference, "reference").chosen(references, _named(reference, "reference"))
    meeting = bring_together(one, other, hemispheres, [Path(path) for path in spheres])
    test = spin_test(
        meeting.maps,
        meeting.others,
        meeting.spheres,
        statistic=statistic,
        rotations=rotations,
        seed=seed,
        progress=progress,
    )
    _must_vary(test, one, other)
    settings = {
        "map": _named(map, "map"),
        "reference": _named(reference, "reference"),
        "statistic": statistic,
        "hemispheres": list(meeting.spheres),
        "rotations": rotations,
        "seed": seed,
        "vertices": test.vertices,
    }
    return Correlations(_table(test, one, other), _labelled(test, one, other), settings)


def _opened(given: MapLike, parameter: str) -> CorticalMaps:
    if isinstance(given, xr.DataArray):
        return _of_array(given, parameter)
    return read_maps([Path(given)] if isinstance(given, str | PathLike) else [Path(path) for path in given])


def _of_array(given: xr.DataArray, parameter: str) -> CorticalMaps:
    if given.dims[-2:] != ("hemisphere", "vertex") or given.ndim > 3:
        raise UserError(
            f"{parameter}: an array of dimensions {given.dims}, not (hemisphere, vertex) or one before these"
        )
    if given.ndim == 2:
        names, values = [str(given.name or parameter)], given.values[None]
    else:
        axis = given.dims[0]
        names = [one if isinstance(one, str) else f"{axis} {one}" for one in given[axis].values.tolist()]
        values = given.values
    sides = enumerate(given.hemisphere.values.tolist())
    return CorticalMaps(names, {side: values[:, row].astype(np.float64) for row, side in sides})


def _named(given: MapLike, parameter: str) -> str:
    if isinstance(given, xr.DataArray):
        return str(given.name or parameter)
    return str(given) if isinstance(given, str | PathLike) else ", ".join(str(path) for path in given)


def _must_vary(test: SpinTest, one: CorticalMaps, other: CorticalMaps) -> None:
    blank = np.isnan(test.r)
    for names, flat in ((one.names, blank.all(axis=1)), (other.names, blank.all(axis=0))):
        if flat.any() and not flat.all():
            raise UserError(f"map {names[flat.argmax()]!r} is the same at all vertices")
    if blank.all():
        raise UserError("a map is the same at all vertices")


def _table(test: SpinTest, one: CorticalMaps, other: CorticalMaps) -> pd.DataFrame:
    rows = [
        {"map": name, "reference": against, "r": float(test.r[row, column]), "p": float(test.p[row, column])}
        for row, name in enumerate(one.names)
        for column, against in enumerate(other.names)
    ]
    return pd.DataFrame(rows)


def _labelled(test: SpinTest, one: CorticalMaps, other: CorticalMaps) -> xr.DataArray:
    coords = {"map": one.names, "reference": other.names}
    return xr.DataArray(test.nulls, coords, ("rotation", "map", "reference"), name="r")
