"""What a store of parcels has in place of BOLD by hemisphere and vertex."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from zarr.codecs import Crc32cCodec

from simdata.store.encoding import Encoding
from simdata.store.layout import PARCEL
from simdata.store.schema import empty, strings

RUN = ("subject", "movie")


def parcel_coords(names: Sequence[str], hemispheres: Sequence[str]) -> dict[str, xr.Variable]:
    """The names of parcels, and in which hemisphere each is: L, R, or "" where that is not known."""
    coords = {
        PARCEL: strings(PARCEL, names),
        "parcel_hemisphere": strings(
            PARCEL, hemispheres, long_name="hemisphere of the parcel, L or R; empty: of both, or not known"
        ),
    }
    for variable in coords.values():
        variable.encoding["chunks"] = variable.shape
    return coords


def bold_arrays(sizes: tuple[int, ...], parcels: int, encoding: Encoding) -> dict[str, xr.Variable]:
    """``bold``, its statistics and ``cortex``, without data.

    Parameters
    ----------
    sizes : (subjects, movies, seconds)
    """
    shard = (1, 1, sizes[2], parcels)
    arrays = {
        "bold": empty(
            (*RUN, "second", PARCEL),
            (*sizes, parcels),
            encoding.dtype,
            shard,
            {
                "long_name": "BOLD signal of the parcel, z-scored over its run",
                "units": "1",
                "comment": "times bold_std plus bold_mean gives the parcel's mean in scanner units",
                **encoding.attributes(),
            },
            {"chunks": (1, 1, 1, parcels), "shards": shard, "compressors": (Crc32cCodec(),)},
            fill=encoding.fill,
        ),
        "cortex": xr.Variable(
            PARCEL,
            np.zeros(parcels, bool),
            {"long_name": "parcel has data in all runs of the store but partial ones"},
            {"chunks": (parcels,)},
        ),
    }
    for name, text in (("bold_mean", "mean"), ("bold_std", "standard deviation (ddof 0)")):
        arrays[name] = empty(
            (*RUN, PARCEL),
            (*sizes[:2], parcels),
            np.dtype("f4"),
            (1, 1, parcels),
            {"long_name": f"{text} of the parcel's BOLD signal over the run", "units": "scanner units"},
        )
    return arrays
