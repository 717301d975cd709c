"""The store: one Zarr v3 group, indexed by subject, movie and second."""

from simdata.store.direct import BoldReader
from simdata.store.opening import open_store

__all__ = ["BoldReader", "open_store"]
