"""Opening a store: xarray's own view of it, and a few conveniences on top."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from simdata.catalog import Catalog, parse
from simdata.store.location import location, open_zarr
from simdata.store.metadata import Metadata


def open_store(path: str | Path) -> xr.Dataset:
    """Open a store lazily with xarray, after checking that it is one.

    The result is what ``xr.open_zarr`` gives; its accessor ``.simdata`` adds `Conveniences`.

    Raises
    ------
    UserError
        If there is no store at ``path``, which may be a URL, or one of another format version.
    """
    dataset = open_zarr(location(path), "make one with `simdata build`")
    Metadata.of(dataset, path)
    return dataset


@xr.register_dataset_accessor("simdata")
class Conveniences:
    """``dataset.simdata``: what a few lines of xarray would do, with a name."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    @property
    def catalog(self) -> Catalog:
        """The catalog that the store was built from."""
        return parse(self.metadata.catalog_text, "the store's catalog")

    @property
    def metadata(self) -> Metadata:
        """Of what the store was built, and how."""
        return Metadata.of(self._dataset, "the dataset")

    def scanner_units(self) -> xr.DataArray:
        """BOLD as it came off the scanner: z-scores times s.d. plus mean, lazily."""
        return self._dataset.bold * self._dataset.bold_std + self._dataset.bold_mean

    def flag_names(self, name: str) -> dict[int, str]:
        """Code -> meaning of a flag variable such as ``segment`` or ``run_status``."""
        attrs = self._dataset[name].attrs
        codes = np.atleast_1d(attrs["flag_values"]).tolist()  # netCDF has no lists of one number
        return dict(zip(codes, attrs["flag_meanings"].split(), strict=True))
