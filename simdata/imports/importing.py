"""`simdata import-embeddings`: embeddings that were computed elsewhere, put on the store's clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from simdata.common.errors import UserError
from simdata.common.faults import of_source, of_store
from simdata.imports.clip_rows import (
    ClipLayout,
    RowSource,
    StoredFilm,
    check_count,
    check_last,
    check_one_encoder,
    check_values,
    count,
)
from simdata.imports.embedding_files import listed, names_of
from simdata.store.axes import check_whole_runs
from simdata.store.embeddings import StagedEmbeddings, present_films
from simdata.store.lock import exclusive
from simdata.store.opening import open_store
from simdata.store.schema import COMPLETE

MOVIE = "{movie}"  # what stands for the movie's name in a key


@dataclass(frozen=True, repr=False)
class ImportSummary:
    """Whether ``array`` was written or was already there, and what was given of each movie, in words."""

    array: str
    written: bool
    movies: dict[str, str]

    def __repr__(self) -> str:
        return f"ImportSummary({self.array!r}, written={self.written}, movies={list(self.movies)})"


def import_embeddings(
    store: Path,
    sources: Sequence[str],
    *,
    layout: ClipLayout,
    key: str | None = None,
    drop_last: Sequence[str] = (),
    allow_missing: bool = False,
) -> ImportSummary:
    """Add an array of embeddings from files to a store, or replace it; all is checked before it is written.

    Rows of movies that are not given stay, if the array is there with the same layout. As with
    `simdata embed`, a film that changes takes its rows out of the store at the next build.

    Parameters
    ----------
    sources : each MOVIE=PATH, or the path of a file with an array for each movie
    key : of the array in files that hold several, in which "{movie}" stands for the movie's name
    drop_last : rows to drop from the end, "N" of every movie's or "MOVIE=N" of one's
    allow_missing : clips without a row are NaN, instead of an error

    Raises
    ------
    UserError
        If files cannot be read, do not have a row for each clip of the film, or have rows that no clip of the
        film can have given.
    """
    with of_store(store), exclusive(store):
        dataset = open_store(store)
        check_whole_runs(dataset, store)
        given = _assign(dataset, sources, key, drop_last)
        films = {movie: StoredFilm.of(dataset, movie) for movie in given}
        rows = {movie: _read(source, layout) for movie, source in given.items()}
        check_one_encoder(given, rows)
        for movie, source in given.items():
            check_values(source, rows[movie], layout, allow_missing)
            check_count(films[movie], source, rows[movie], layout, allow_missing)
            check_last(dataset, films[movie], source, rows[movie], layout)
        # Beside the film's own record: a changed film drops the rows, another file replaces them.
        records = {movie: film.record | {"imported": given[movie].record()} for movie, film in films.items()}
        features = next(iter(rows.values())).shape[1]
        present = present_films(store, layout.array, features, layout.attributes()) or {}
        _check_all_movies(dataset, {**present, **records}, layout, allow_missing)
        staged = StagedEmbeddings(store, layout.array, features, layout.attributes(), records)
        for movie, film in films.items():
            _write(staged, film, rows[movie], layout)
        staged.publish()
    told = {movie: _tell(film, rows[movie], layout) for movie, film in films.items()}
    return ImportSummary(layout.array, not staged.is_current, told)


def _assign(
    dataset: xr.Dataset, texts: Sequence[str], key: str | None, drop_last: Sequence[str]
) -> dict[str, RowSource]:
    """The source of each movie that is given, in the store's order."""
    movies = [str(movie) for movie in dataset.movie.values]
    places: list[tuple[str, Path, str | None]] = []
    for text in texts:
        movie, equals, path = text.partition("=")
        if equals and movie in movies:
            places.append((movie, Path(path), key and key.replace(MOVIE, movie)))
        elif equals and not Path(text).exists():
            raise UserError(f"{text}: the store has no movie {movie!r}; it has: {', '.join(movies)}")
        else:
            places += _movies_in(Path(text), key, movies)
    found = [movie for movie, _, _ in places]
    if twice := [movie for movie in movies if found.count(movie) > 1]:
        raise UserError(f"{twice[0]} is given {found.count(twice[0])} times; give one file of it")
    drops = _drops(drop_last, found)
    given = {movie: RowSource(path, name, drops[movie]) for movie, path, name in places}
    return {movie: given[movie] for movie in movies if movie in given}


def _movies_in(path: Path, key: str | None, movies: Sequence[str]) -> list[tuple[str, Path, str]]:
    """(movie, path, key) of the arrays in a file that holds those of several movies."""
    if path.is_dir():
        raise UserError(f"{path}: does not say of which movie its clips are; write MOVIE={path}")
    if key is not None and MOVIE not in key:
        raise UserError(f"`key` {key}: would be the same for all movies in {path}; write {MOVIE} in it")
    with of_source(path):
        names = names_of(path)
    keys = {movie: (key or MOVIE).replace(MOVIE, movie).strip("/") for movie in movies}
    found = [(movie, path, name) for movie, name in keys.items() if name in names]
    others = [name for name in names if name not in keys.values()]
    # A key that is given says what to read of a file that has more.
    if not found or (others and key is None):
        raise UserError(
            f"{path}: has arrays that are no movies of the store ({listed(others)}); those are "
            f"{', '.join(movies)}. Say what to read by `key`, such as `key` '{MOVIE}', or write MOVIE={path}"
        )
    return found


def _read(source: RowSource, layout: ClipLayout) -> np.ndarray:
    with of_source(source.path):
        return source.read(layout)


def _drops(texts: Sequence[str], movies: Sequence[str]) -> dict[str, int]:
    """How many rows to drop from the end of each movie's."""
    drops = dict.fromkeys(movies, 0)
    for text in texts:
        movie, _, number = text.rpartition("=")
        if not number.isdecimal() or (movie and movie not in movies):
            raise UserError(
                f"`drop_last` {text}: write a number, or MOVIE=NUMBER with a movie that is given "
                f"({', '.join(movies)})"
            )
        drops |= dict.fromkeys([movie] if movie else movies, int(number))
    return drops


def _check_all_movies(
    dataset: xr.Dataset, films: Mapping[str, Any], layout: ClipLayout, allow_missing: bool
) -> None:
    """Raise a UserError if the array would lack a movie whose film is in the store."""
    complete = dataset.movie.values[dataset.film_status.values == COMPLETE]
    if (lacking := [str(movie) for movie in complete if movie not in films]) and not allow_missing:
        raise UserError(
            f"{layout.array} would have no rows of {', '.join(lacking)}: give them as MOVIE=PATH, or leave "
            "them NaN with `allow_missing`"
        )


def _write(staged: StagedEmbeddings, film: StoredFilm, rows: np.ndarray, layout: ClipLayout) -> None:
    table = np.full((film.volumes, rows.shape[1]), np.nan, np.float32)
    starts = layout.starts(len(rows))
    stored = starts < film.volumes
    table[starts[stored]] = rows[stored]
    for start, stop in staged.missing(film.movie):
        staged.write(film.movie, start, table[start:stop])


def _tell(film: StoredFilm, rows: np.ndarray, layout: ClipLayout) -> str:
    """How the rows lie on the film's clock."""
    lacking = film.clips_wanted(layout) - len(rows) + int(np.isnan(rows).all(axis=1).sum())
    text = f"{count(len(rows))}, {layout.clip(0)} to {layout.clip(len(rows) - 1)}"
    return f"{text}, {lacking} missing" if lacking > 0 else text
