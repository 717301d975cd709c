"""A BIDS catalog with the movies that its tree shows."""

from __future__ import annotations

from pathlib import Path

from simdata.bold.formats import endings
from simdata.release.bids_movies import with_seen_movies
from simdata.release.catalog import Catalog
from simdata.store.opening import open_store


def completed(catalog: Catalog, source: Path, store: Path | None = None) -> Catalog:
    """The catalog as it is built: of a BIDS tree, with those movies that some scan shows.

    Parameters
    ----------
    store : whose movies come first, in their order, if it is there

    Raises
    ------
    UserError
        If the tree has no scan of the catalog.
    """
    if not catalog.is_bids:
        return catalog
    there = store is not None and (store / "zarr.json").exists()
    known = open_store(store).movie.values.tolist() if store is not None and there else []
    return with_seen_movies(catalog, source, endings(), known)
