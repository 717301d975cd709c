"""The lengths of movies whose catalog leaves them to their films."""

from __future__ import annotations

from pathlib import Path

from simdata.common.errors import UserError
from simdata.common.faults import of_source
from simdata.films.container import probe
from simdata.release.catalog import Catalog
from simdata.release.sources import find_film
from simdata.store.opening import open_store


def with_lengths(catalog: Catalog, movies: Path, store: Path | None = None) -> Catalog:
    """A catalog in which every movie has a length: as a store has it, else as its film.

    Parameters
    ----------
    movies : folder with the films
    store : that is there already, if there is one

    Raises
    ------
    UserError
        If the film that a length comes from cannot be read.
    """
    unknown = [movie for movie in catalog.movies if not movie.has_length]
    if unknown and store is not None:
        there = open_store(store)
        catalog = catalog.with_lengths(dict(zip(there.movie.values, there.volumes.values, strict=True)))
        unknown = [movie for movie in catalog.movies if not movie.has_length]
    durations = {}
    for movie in unknown:
        try:
            film = find_film(movie, movies)
            with of_source(film.path):
                durations[movie.name] = max(1, round(probe(film.path).duration))
        except UserError as error:
            raise UserError(
                f"{error}\nThe length of {movie.name} is that of its film: get that, or give `seconds` in "
                "the catalog"
            ) from None
    return catalog.with_lengths(durations)
