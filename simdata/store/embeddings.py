"""Adding or replacing an embedding array of a store: made aside, block by block, and moved in when whole."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from simdata.common.attributes import as_json, flat, structure
from simdata.common.errors import UserError
from simdata.common.film_clock import BLOCK, block_bounds
from simdata.store.arrays import array_of, dimensions_of, values_of
from simdata.store.layout import check_chunks
from simdata.store.metadata import Metadata
from simdata.store.provenance import WORK_FOLDER
from simdata.store.schema import embedding_array, feature_dimension, quiet_zarr

FILMS = "films"  # attribute: of which file the rows of each movie are, as JSON
STAGED, REPLACED = "embeddings", "replaced"  # folders: of arrays that are being made; of one's predecessor


class StagedEmbeddings:
    """A new embedding array beside the store's, until `publish`.

    A chunk is a block of one movie, and is written whole or not at all, so what a killed process has done is
    what lies there. Movies of the store's present array are taken over if they are what is wanted.

    Parameters
    ----------
    store : path
    name : of the array
    features : length of a row
    attributes : of the array, but for ``films``
    films : movie -> record of the file that its rows are made of
    """

    def __init__(
        self, store: Path, name: str, features: int, attributes: dict[str, Any], films: dict[str, Any]
    ) -> None:
        self.store, self.name = store, name
        group = zarr.open_group(store, mode="r")
        check_chunks(group, store)
        self._movies = {movie: i for i, movie in enumerate(values_of(group, "movie"))}
        self._seconds = dict(zip(self._movies, values_of(group, "volumes").tolist(), strict=True))
        self._folder = store / WORK_FOLDER / STAGED / name
        present = present_films(store, name, features, attributes)
        kept = {movie: r for movie, r in (present or {}).items() if films.get(movie, r) == r}
        self._films = kept | films
        self._wanted = flat(attributes | {FILMS: self._films})
        self.is_current = present == self._films
        if not self.is_current and not self._continues():
            self._begin(features, len(self._movies), array_of(group, "bold").shape[2])
            for movie in kept:
                chunks = f"c/{self._movies[movie]}"
                shutil.copytree(store / name / chunks, self._array / chunks)

    def _continues(self) -> bool:
        """Whether what lies in the work folder is a beginning of the same array."""
        note = self._folder / "wanted.json"
        return note.is_file() and json.loads(note.read_text()) == self._wanted

    def _begin(self, features: int, films: int, seconds: int) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        variable = embedding_array(self.name, features, films, seconds, self._wanted)
        with quiet_zarr():
            xr.Dataset({self.name: variable}).to_zarr(self._folder / "group", compute=False, zarr_format=3)
        (self._folder / "wanted.json").write_text(json.dumps(self._wanted))

    @property
    def _array(self) -> Path:
        return self._folder / "group" / self.name

    def missing(self, movie: str) -> list[tuple[int, int]]:
        """(start, stop) s of the blocks that are not there yet; none of a movie that is to have no rows."""
        if self.is_current or movie not in self._films:
            return []
        chunks = self._array / f"c/{self._movies[movie]}"
        bounds = block_bounds(self._seconds[movie])
        return [(start, stop) for start, stop in bounds if not (chunks / f"{start // BLOCK}/0").exists()]

    def write(self, movie: str, start: int, rows: np.ndarray) -> None:
        """Write (n, features) rows from second ``start`` of a movie on, which begins a block."""
        with zarr.config.set({"array.write_empty_chunks": True}):
            array = zarr.open_array(self._array, mode="r+")
            array[self._movies[movie], start : start + len(rows)] = rows

    def leave_out(self, movie: str) -> None:
        """The array is to have no rows of a movie after all; one that is in its place already keeps them."""
        if self.is_current or movie not in self._films:
            return
        del self._films[movie]
        self._wanted |= flat({FILMS: self._films})
        zarr.open_array(self._array, mode="r+").attrs[FILMS] = self._wanted[FILMS]
        (self._folder / "wanted.json").write_text(json.dumps(self._wanted))
        shutil.rmtree(self._array / f"c/{self._movies[movie]}", ignore_errors=True)

    @property
    def is_empty(self) -> bool:
        """Whether there are rows of no movie."""
        return not self._films

    def discard(self) -> None:
        """Forget what was made, instead of `publish`."""
        shutil.rmtree(self._folder, ignore_errors=True)
        settle_embeddings(self.store)

    def publish(self) -> None:
        """Put the array in its place in the store, if it is not there already."""
        if self.is_current:
            return
        target = self.store / self.name
        if target.exists():
            os.replace(target, self._folder / REPLACED)
        os.replace(self._array, target)
        settle_embeddings(self.store)


def settle_embeddings(store: Path) -> None:
    """Finish or undo what a killed `StagedEmbeddings.publish` had begun; what is half made stays."""
    folder = store / WORK_FOLDER / STAGED
    for own in sorted(folder.iterdir()) if folder.exists() else ():
        target, replaced = store / own.name, own / REPLACED
        if replaced.exists() and not target.exists():
            os.replace(replaced, target)
        if not (own / "group" / own.name).exists():  # it is in its place
            with quiet_zarr():
                zarr.consolidate_metadata(store)
            shutil.rmtree(own)
    if folder.exists() and not any(folder.iterdir()):
        folder.rmdir()


def present_films(store: Path, name: str, features: int, attributes: dict[str, Any]) -> dict[str, Any] | None:
    """Movie -> record of its rows in the store's array ``name``; None if there is no such array as is wanted.

    Raises
    ------
    UserError
        If the array is one of those that `simdata build` makes or no embedding, or another one's features go
        by its name.
    """
    group = zarr.open_group(store, mode="r")
    if name in Metadata.of(group, store).recipe["encoders"]:
        raise UserError(f"{name} belongs to `simdata build`: choose another name (name=..., `name`)")
    if name in group and "modality" not in group[name].attrs:
        raise UserError(f"{name} is there, and is no embedding: choose another name (name=..., `name`)")
    for other, present in group.arrays():
        # xarray opens no store in which a dimension has two lengths.
        named = dimensions_of(present)[-1:] == (feature_dimension(name),)
        if other != name and named and present.shape[-1] != features:
            raise UserError(
                f"{name}: {other} has another number of features under this name; choose another "
                "(name=..., `name`)"
            )
    if name not in group or array_of(group, name).shape[-1] != features:
        return None
    found, wanted = dict(group[name].attrs), json.loads(json.dumps(flat(attributes)))
    if any(found.get(key) != value for key, value in wanted.items()):
        return None
    return structure(found, FILMS, f"{store}: {name}")


def forget_film(store: Path, movie: str, position: int) -> None:
    """Drop the rows of a movie whose film has changed from the arrays that a build cannot make again."""
    group = zarr.open_group(store, mode="r+")
    for name, array in group.arrays():
        if movie in (films := structure(array.attrs, FILMS, f"{store}: {name}")):
            del films[movie]
            array.attrs[FILMS] = as_json(films)
            with quiet_zarr():
                zarr.consolidate_metadata(store)
            shutil.rmtree(store / name / f"c/{position}", ignore_errors=True)
