"""Where in the brain the values of a store are: at vertices of two hemispheres, or in parcels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from simtrain.data.dataset import Dataset


@dataclass(frozen=True)
class Places:
    """The axes of a store's maps, which are computed as (..., hemispheres, vertices), or (..., 1, parcels).

    Attributes
    ----------
    dims, shape : of the store's own: hemisphere and vertex, or parcel
    coords : labels along them
    parcels : names, in a store of these
    labels : (hemispheres, vertices) int, the position of each vertex's parcel, or -1, where the store has it
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    coords: dict[str, Sequence[str]]
    parcels: list[str]
    labels: np.ndarray | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> Places:
        """Those of a store."""
        cortex, parcels = dataset.view.cortex, dataset.parcels
        dims, shape = tuple(map(str, cortex.dims)), cortex.shape
        if not parcels:
            return cls(dims, shape, {"hemisphere": dataset.view.hemisphere.values.tolist()}, [])
        labels = dataset.view.parcels.values if "parcels" in dataset.view else None
        return cls(dims, shape, {"parcel": parcels}, parcels, labels)

    @property
    def have_mesh(self) -> bool:
        """Whether values can be put on a mesh."""
        return not self.parcels or self.labels is not None

    def variable(self, values: np.ndarray, *before: str) -> xr.Variable:
        """Computed maps as the store's own axes have them, behind the axes ``before``."""
        return xr.Variable((*before, *self.dims), values.reshape(*values.shape[: len(before)], *self.shape))

    def on_mesh(self, values: np.ndarray) -> np.ndarray:
        """(hemispheres, vertices) of a computed map, NaN at vertices without a parcel."""
        if self.labels is None:
            return values
        found: np.ndarray = np.where(self.labels >= 0, values[0][self.labels], np.nan)
        return found
