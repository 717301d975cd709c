"""Whether a store is one of parcels, and of which."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import xarray as xr

from simdata.bold.formats import open_run
from simdata.build_recipe import Recipe
from simdata.common.errors import UserError
from simdata.release.catalog import Catalog
from simdata.release.sources import Found
from simdata.store.axes import check_variables
from simdata.store.encoding import ENCODINGS
from simdata.store.notes import complete_runs
from simdata.store.opening import open_store
from simdata.store.parcel_arrays import ParcelAxis, parcel_variables


def parcels_of(catalog: Catalog, found: Found, out: Path | None) -> ParcelAxis | None:
    """Those of the store at ``out`` if it has runs, else of the first run that can be opened.

    Returns
    -------
    None if the store, or that run, has vertices.
    """
    there = None
    if out is not None:
        store = open_store(out)
        check_variables(store, out, ["bold", "run_status"])
        there = ParcelAxis.of(store)
        if complete_runs(store):
            return there
    for run in found.runs:
        with suppress(UserError):
            scan = run.parts[0].scan
            series = open_run(*scan.files, tr=catalog.tr, mesh=catalog.mesh, inside=scan.inside)
            return ParcelAxis(series.parcels, series.parcel_hemispheres) if series.parcels else None
    return there


def variables_of(recipe: Recipe, subjects: int) -> dict[str, xr.Variable] | None:
    """What a store of parcels has in place of BOLD by vertex; None for one of vertices."""
    if recipe.parcels is None:
        return None
    sizes = (subjects, len(recipe.catalog.movies), recipe.catalog.seconds)
    return parcel_variables(sizes, recipe.parcels, ENCODINGS[recipe.encoding])
