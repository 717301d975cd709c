"""simdata: movie-watching fMRI and its stimuli as one chunked Zarr store."""

from importlib.metadata import version

__version__ = version("simdata")


def open(path):
    """Open a store: xarray's dataset with the ``.simdata`` accessor. See `simdata.store.open_store`."""
    from simdata.store import (
        open_store,  # simdata.common.errors and simdata.release.catalog import without xarray
    )

    return open_store(path)
