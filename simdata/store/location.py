"""Where a store is: a folder, or a URL."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import xarray as xr

from simdata.common.errors import UserError


def location(store: str | PathLike) -> str | Path:
    """A URL that fsspec knows (``https://``, ``s3://``) as text, anything else as an absolute path."""
    return store if isinstance(store, str) and "://" in store else Path(store).absolute()


def open_zarr(store: str | Path, advice: str, **options: Any) -> xr.Dataset:
    """``xr.open_zarr`` of a store on this machine or elsewhere.

    Parameters
    ----------
    advice : what to do if there is none
    options : of ``xr.open_zarr``

    Raises
    ------
    UserError
        If there is no store, xarray cannot open it, or there is no package that reads such URLs.
    """
    try:
        return xr.open_zarr(store, **options)
    except FileNotFoundError:
        raise UserError(f"{store} is not a simdata store (it has no zarr.json): {advice}") from None
    except Exception as error:  # of damaged metadata and of packages that are not there: any
        if isinstance(store, Path):
            raise UserError(f"{store}: xarray cannot open it: {error}") from error
        raise UserError(
            f"{store} cannot be read ({error}): pip install 'simdata[remote]', or the package that fsspec "
            "names for such URLs"
        ) from None
