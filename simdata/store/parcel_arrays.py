"""What a store of parcels has in place of BOLD by hemisphere and vertex."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from zarr.codecs import Crc32cCodec

from simdata.store.encoding import Encoding
from simdata.store.layout import PARCEL
from simdata.store.schema import empty, strings

RUN = ("subject", "movie")


@dataclass(frozen=True)
class ParcelAxis:
    """The axis of a store of parcels: names, and the hemisphere of each, L, R, or "" if it is not known."""

    names: tuple[str, ...]
    hemispheres: tuple[str, ...]

    @property
    def identity(self) -> dict[str, Any]:
        """What of a recipe tells it from others."""
        return {
            "number": len(self.names),
            "sha256": hashlib.sha256("\n".join(self.names).encode()).hexdigest(),
        }

    @classmethod
    def of(cls, store: xr.Dataset) -> ParcelAxis | None:
        """That of a store; None if it is of vertices."""
        if PARCEL not in store.dims:
            return None
        return cls(*(tuple(store[name].values.tolist()) for name in (PARCEL, "parcel_hemisphere")))


def parcel_variables(sizes: tuple[int, ...], axis: ParcelAxis, encoding: Encoding) -> dict[str, xr.Variable]:
    """``bold``, its statistics and ``cortex``, without data, and the coordinates of parcels.

    Parameters
    ----------
    sizes : (subjects, movies, seconds)
    """
    parcels = len(axis.names)
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
    text = "hemisphere of the parcel, L or R; empty: of both, or not known"
    coords = {
        PARCEL: strings(PARCEL, axis.names),
        "parcel_hemisphere": strings(PARCEL, axis.hemispheres, long_name=text),
    }
    for variable in coords.values():
        variable.encoding["chunks"] = variable.shape
    return arrays | coords
