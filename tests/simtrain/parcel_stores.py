"""A small store of parcels, of the small store of vertices: each parcel is a patch of ico1 with its mean."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import xarray as xr
from zarr.codecs import Crc32cCodec

from simtrain.surface.patches import patch_vertices

NO_MESH = ["hemisphere", "vertex", "bold", "bold_mean", "bold_std", "cortex"]


def write_parcel_store(path: Path, store: Path, dtype: str = "float32") -> Path:
    """Two by 80 parcels; the values are float32, or int8 with a scale."""
    dataset = xr.open_zarr(store, chunks=None)
    cortex, patches = dataset.cortex.values, patch_vertices(1)
    scans = (
        (dataset.bold * dataset.bold_std + dataset.bold_mean).transpose(..., "hemisphere", "vertex").values
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # means of nothing
        means = [
            np.nanmean(scans[..., side, :][..., patch[cortex[side, patch]]], axis=-1)
            for side in range(2)
            for patch in patches
        ]
        values = np.stack(means, axis=-1)  # (subject, movie, second, parcel)
        mean, std = np.nanmean(values, axis=2), np.nanstd(values, axis=2)
    z = ((values - mean[:, :, None]) / std[:, :, None]).astype("f4")
    attributes = {"_FillValue": np.float32("nan")}
    encoding = {"fill_value": np.float32("nan")}
    if dtype == "int8":
        z = np.where(np.isnan(z), -128, np.clip(np.rint(z * 16), -127, 127)).astype(np.int8)
        attributes = {"_FillValue": np.int8(-128), "scale_factor": np.float32(1 / 16)}
        encoding = {"fill_value": np.int8(-128)}
    inside = ~np.isnan(mean).all(axis=(0, 1))
    *_, seconds, parcels = z.shape
    shard = (1, 1, seconds, parcels)
    encoding |= {"chunks": (1, 1, 1, parcels), "shards": shard, "compressors": (Crc32cCodec(),)}
    run = ("subject", "movie")
    new = {
        "bold": xr.Variable((*run, "second", "parcel"), z, attributes, encoding),
        "bold_mean": xr.Variable((*run, "parcel"), mean.astype("f4"), {}, {"chunks": (1, 1, parcels)}),
        "bold_std": xr.Variable((*run, "parcel"), std.astype("f4"), {}, {"chunks": (1, 1, parcels)}),
        "cortex": xr.Variable("parcel", inside),
    }
    names = [f"{side}{patch}" for side in "LR" for patch in range(len(patches))]
    coords = {
        "parcel": np.array(names, object),
        "parcel_hemisphere": ("parcel", np.array([name[0] for name in names], object)),
    }
    plain = dataset.drop_vars([name for name in NO_MESH if name in dataset.variables])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain.assign(new).assign_coords(coords).to_zarr(path, zarr_format=3, consolidated=True)
    return path
