"""Opening a store: xarray's own view of it, and a few conveniences on top."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import xarray as xr

from simdata.store.location import location, open_zarr
from simdata.store.metadata import Metadata

if TYPE_CHECKING:
    from simdata.release.catalog import Catalog
    from simdata.release.splits import Splits


def open_store(path: str | Path) -> xr.Dataset:
    """Open a store lazily with xarray, after checking that it is one.

    The result is what ``xr.open_zarr`` gives, with two differences: values of int8 are float32 when decoded,
    and what dask takes at once is a whole run or movie. So a selection by lists or slices goes straight to
    ``.to_zarr(new)``, in the encoding it has. Its accessor ``.simdata`` adds `Conveniences`.

    Raises
    ------
    UserError
        If there is no store at ``path``, which may be a URL, or one of another format version.
    """
    stored = open_zarr(location(path), "make one with `simdata build`", chunks=None, decode_cf=False)
    Metadata.of(stored, path)
    for variable in stored.variables.values():
        if "scale_factor" in variable.attrs:  # of a JSON number xarray makes float64
            variable.attrs["scale_factor"] = np.float32(variable.attrs["scale_factor"])
    return _in_runs(xr.decode_cf(stored))


def _in_runs(dataset: xr.Dataset) -> xr.Dataset:
    """The dataset with dask arrays that to_zarr can write as they lie in the store.

    xarray's own are of a second each, as the chunks are. Two of them in one shard it refuses to write, and
    for each it has a task. What is one chunk needs no dask: then it can say what to select.
    """
    token, chunked = uuid4().hex, {}
    for name, array in dataset.data_vars.items():
        chunks = array.encoding.get("preferred_chunks", {})
        if any(size < array.sizes[dim] for dim, size in chunks.items()):  # others are small
            whole = {dim: -1 if dim == "second" else size for dim, size in chunks.items()}
            chunked[name] = array.variable.chunk(whole, name=f"{name}-{token}")
    return dataset.assign(chunked)


@xr.register_dataset_accessor("simdata")  # type: ignore[no-untyped-call]  # xarray has no type for it
class Conveniences:
    """``dataset.simdata``: what a few lines of xarray would do, with a name."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    @property
    def metadata(self) -> Metadata:
        """What the store was built from, and how."""
        return Metadata.of(self._dataset, "the dataset")

    @property
    def catalog(self) -> Catalog:
        """The catalog that the store was built from."""
        from simdata.store.splitting import catalog_of  # pydantic: not for those who only open stores

        return catalog_of(self._dataset, "the store")

    @property
    def splits(self) -> Splits:
        """How its subjects and scenes are divided: by `simdata resplit`, or as its catalog says."""
        from simdata.store.splitting import own_splits

        return own_splits(self._dataset, "the store")

    def scanner_units(self) -> xr.DataArray:
        """BOLD as it came off the scanner: z-scores times s.d. plus mean, lazily."""
        scanned: xr.DataArray = self._dataset.bold * self._dataset.bold_std + self._dataset.bold_mean
        return scanned

    def flag_names(self, name: str) -> dict[int, str]:
        """Code -> meaning of a flag variable such as ``segment`` or ``run_status``."""
        attrs = self._dataset[name].attrs
        codes = np.atleast_1d(attrs["flag_values"]).tolist()  # netCDF has no lists of one number
        return dict(zip(codes, attrs["flag_meanings"].split(), strict=True))
