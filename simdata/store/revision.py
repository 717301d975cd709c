"""Bringing the tables of a store in line with an edited catalog, at once for all who read it.

Readers go by the consolidated metadata in the root's ``zarr.json``. A table's new chunks are written beside
the old ones under keys of the other form (``c/0/0`` and ``c.0.0``, which a Zarr array chooses by its
``chunk_key_encoding``), so that one replacement of that file shows all tables as new. What a kill leaves half
done before it is undone by the next writer, and after it finished.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xarray as xr
import zarr

from simdata.release.catalog import Catalog
from simdata.store import schema
from simdata.store.arrays import dimensions_of
from simdata.store.metadata import VARIABLE, as_variable
from simdata.store.opening import open_store
from simdata.store.shards import write_durably

NEW = ".zarr.json.new"
OTHER = {"/": ".", ".": "/"}  # separators of chunk keys


def revise(store: Path, staging: Path, catalog: Catalog, metadata: dict[str, Any]) -> None:
    """Give a store the tables of an edited catalog, whose movies are the store's and perhaps others behind.

    Parameters
    ----------
    staging : folder for half-done files, on the store's file system
    metadata : what of `simdata.store.metadata` is to change
    """
    with open_store(store) as dataset, schema.quiet_zarr():
        tables = _tables(dataset, catalog)
        if len(catalog.movies) > dataset.sizes["movie"]:
            _add_movies(store, dataset.sizes["movie"], len(catalog.movies), set(tables))
    replace_tables(store, staging, tables, metadata, schema.root_attributes(catalog))


def replace_tables(
    store: Path,
    staging: Path,
    tables: dict[str, xr.Variable],
    metadata: dict[str, Any],
    attributes: dict[str, str],
) -> None:
    """Put other tables in the place of a store's own, with metadata and root attributes that belong to them.

    Parameters
    ----------
    tables : some of `schema.TABLES`
    staging, metadata : as for `revise`
    """
    for variable in tables.values():
        chunks = (schema.SUBJECTS if variable.dims[0] == "subject" else len(variable), *variable.shape[1:])
        variable.encoding["chunks"] = chunks
    folder = staging / "tables"
    with schema.quiet_zarr():
        xr.Dataset(tables).to_zarr(
            folder, mode="w", zarr_format=3, consolidated=False, encoding=_encodings(store, tables)
        )
    for name in tables:
        _put(store / name, folder / name)
    _put_attributes(store, metadata)
    _commit(store, attributes)
    settle_tables(store)


def settle_tables(store: Path) -> None:
    """Undo what a killed `revise` had begun, or finish it if readers see it."""
    for left in (store / NEW, *store.glob(f"*/{NEW}")):
        left.unlink(missing_ok=True)
    shown = json.loads((store / "zarr.json").read_text())["consolidated_metadata"]["metadata"]
    for name in (*schema.TABLES, VARIABLE):
        file = store / name / "zarr.json"
        if name in shown and json.loads(file.read_text()) != shown[name]:
            _replace(file, shown[name])
        if name in shown and name in schema.TABLES:
            _clear(store / name, OTHER[_separator(shown[name])])
    _resize_movies(store, shown["movie"]["shape"][0], set(schema.TABLES))


def _tables(dataset: xr.Dataset, catalog: Catalog) -> dict[str, xr.Variable]:
    """The small arrays that a catalog decides, or that have a place for each movie."""
    tables = schema.catalog_tables(catalog, dataset.subject.values.tolist())
    known = dataset.sizes["movie"]
    if len(catalog.movies) > known:
        tables |= schema.status_tables(dataset.sizes["subject"], len(catalog.movies))
        for name in schema.STATUSES:
            tables[name].values[..., :known] = dataset[name].values
    return tables


def _encodings(store: Path, tables: dict[str, xr.Variable]) -> dict[str, Any]:
    form = {name: _separator(json.loads((store / name / "zarr.json").read_text())) for name in tables}
    return {
        name: {"chunk_key_encoding": {"name": "default", "separator": OTHER[form[name]]}} for name in tables
    }


def _separator(metadata: dict[str, Any]) -> str:
    return metadata["chunk_key_encoding"].get("configuration", {}).get("separator", "/")


def _put(table: Path, new: Path) -> None:
    """Move a new table's chunks beside the old ones, and its metadata in the place of the old."""
    metadata = json.loads((new / "zarr.json").read_text())
    old = json.loads((table / "zarr.json").read_text())["attributes"]
    if "coordinates" in old:  # CF's list of the variables that label it
        metadata["attributes"]["coordinates"] = old["coordinates"]
    _clear(table, _separator(metadata))
    for chunk in new.iterdir():
        if chunk.name != "zarr.json":
            os.replace(chunk, table / chunk.name)
    _replace(table / "zarr.json", metadata)


def _clear(table: Path, separator: str) -> None:
    """Remove the chunks under keys of a form."""
    if separator == "/":
        shutil.rmtree(table / "c", ignore_errors=True)
    else:
        for chunk in table.glob("c.*"):
            chunk.unlink()


def _put_attributes(store: Path, changed: dict[str, Any]) -> None:
    file = store / VARIABLE / "zarr.json"
    metadata = json.loads(file.read_text())
    metadata["attributes"] |= {k: v for k, v in as_variable(**changed).attrs.items() if k in changed}
    _replace(file, metadata)


def _add_movies(store: Path, before: int, count: int, tables: set[str]) -> None:
    """Make room for movies that join; in a user's own variables they have no value."""
    missing = {
        name: schema.missing_value(name, array, "movie")
        for name, array in _by_movie(store, tables)
        if name not in schema.OF_FILMS
    }
    _resize_movies(store, count, tables)
    for name, array in _by_movie(store, tables):
        if name in missing:
            schema.put_missing(array, "movie", before, missing[name])


def _resize_movies(store: Path, count: int, tables: set[str]) -> None:
    """Give every array with movies, but for ``tables``, room for so many: a user's own too."""
    with schema.quiet_zarr():
        for _, array in _by_movie(store, tables):
            sizes = zip(dimensions_of(array), array.shape, strict=True)
            shape = tuple(count if dim == "movie" else size for dim, size in sizes)
            if shape != array.shape:
                array.resize(shape)


def _by_movie(store: Path, tables: set[str]) -> Iterator[tuple[str, zarr.Array]]:
    for name, array in zarr.open_group(store, mode="r+", use_consolidated=False).arrays():
        if name not in tables and "movie" in dimensions_of(array):
            yield name, array


def _commit(store: Path, attributes: dict[str, Any]) -> None:
    """Show readers what the arrays' own metadata say."""
    root = json.loads((store / "zarr.json").read_text())
    root["attributes"] |= attributes
    shown = root["consolidated_metadata"]["metadata"]
    for name in shown:
        shown[name] = json.loads((store / name / "zarr.json").read_text())
    _replace(store / "zarr.json", root)


def _replace(file: Path, content: dict[str, Any]) -> None:
    temporary = file.with_name(NEW)
    write_durably(temporary, [json.dumps(content, indent=2).encode()])
    os.replace(temporary, file)
