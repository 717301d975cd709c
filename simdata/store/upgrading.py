"""Bringing a store of format 2.0 to 2.1: it gets ``run``, ``reach`` and ``film``; nothing else changes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import xarray as xr
import zarr

from simdata.store.arrays import dimensions_of
from simdata.store.metadata import FORMAT_VERSION, change
from simdata.store.opening import open_store
from simdata.store.run_codes import FILM, REACH, RUN, run_codes
from simdata.store.schema import film_variable, quiet_zarr, reach_variable, run_variable

LABELS = (REACH, FILM)  # of movies


def upgrade(store: Path, staging: Path) -> bool:
    """Add what a store of format 2.0 lacks, in its place; whether anything was.

    Readers go by the consolidated metadata, which are written last.

    Parameters
    ----------
    staging : folder for half-done files, on the store's file system
    """
    with open_store(store) as dataset:
        if RUN in dataset:
            return False
        sizes = (dataset.sizes[axis] for axis in ("subject", "movie", "second"))
        run = run_variable(*sizes)
        run.data = run_codes(dataset, store)
        film = film_variable(dataset.movie.values.tolist())
        tables = xr.Dataset({RUN: run, REACH: reach_variable(dataset.sizes["movie"]), FILM: film})
    with quiet_zarr():
        tables.to_zarr(staging / "tables", mode="w", zarr_format=3, consolidated=False)
        for name in (RUN, *LABELS):
            shutil.rmtree(store / name, ignore_errors=True)  # of a call that was killed
            os.replace(staging / "tables" / name, store / name)
        group = zarr.open_group(store, mode="r+", use_consolidated=False)
        for name, array in group.arrays():
            labels = str(array.attrs.get("coordinates", "")).split()
            if labels and "movie" in dimensions_of(array) and name not in LABELS:
                array.attrs["coordinates"] = " ".join(dict.fromkeys([*labels, *LABELS]))
        change(group, format_version=FORMAT_VERSION)
        zarr.consolidate_metadata(store)
    return True
