"""The movies of a BIDS catalog: those that are listed, and those that the tree's scans name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from simdata.release.bids import BidsScan
from simdata.release.bids_scans import scans_of, tells_movies
from simdata.release.catalog import Catalog, Movie
from simdata.release.splits import SceneSplit

Named = dict[str, BidsScan]


def with_seen_movies(
    catalog: Catalog, source: Path, endings: Sequence[str], known: Sequence[str] = ()
) -> Catalog:
    """A BIDS catalog with the movies that its tree's scans show, and no others.

    A listed movie that no scan shows is left out, as somebody may have fetched a part of a data set. With
    ``films``, a movie that is not listed is one too. Names in ``splits.scenes.movies`` may be patterns such
    as ``s06*``, which are the movies that they match. A catalog whose plays say what was shown is left alone.

    Parameters
    ----------
    known : movies that come first, in their order: those of a store that is there

    Raises
    ------
    UserError
        As `simdata.release.bids.find_scans`.
    """
    if not catalog.is_bids or not tells_movies(catalog):
        return catalog
    found = scans_of(catalog, source, endings)
    named: Named = {one.name: one for one in [*found.scans, *(scan for scan, _ in found.unusable)]}
    listed = {movie.name: movie for movie in catalog.movies}
    ordered = dict.fromkeys([*known, *listed, *sorted(named, key=_natural)])
    movies = [
        movie
        for name in ordered
        if (name in named or name in known) and (movie := _movie(catalog, listed, named.get(name), name))
    ]
    scenes = _of_movies(catalog.splits.scenes, movies)
    splits = catalog.splits.model_copy(update={"scenes": scenes})
    return catalog.model_copy(update={"movies": movies, "splits": splits})


def _movie(catalog: Catalog, listed: dict[str, Movie], scan: BidsScan | None, name: str) -> Movie | None:
    """A movie by its name; a repeat is as the movie that it repeats."""
    if name in listed:
        return listed[name]
    base = name if scan is None else scan.movie
    if base in listed:
        return listed[base].model_copy(update={"name": name})
    if catalog.films is None:
        return None
    movie = Movie(name=name, video=catalog.films.replace("{movie}", base))
    if catalog.transcripts is None:
        return movie
    return movie.model_copy(update={"transcript": catalog.transcripts.replace("{movie}", base)})


def _of_movies(scenes: SceneSplit, movies: Sequence[Movie]) -> SceneSplit:
    """Scenes without clips and movies that there are not, whose patterns of movies are names.

    A movie is in the first set that has it.
    """
    clips = {segment.name for movie in movies for segment in movie.clips}
    free, named = [movie.name for movie in movies], {}
    for split, patterns in scenes.movies.items():
        named[split] = [name for name in free if any(fnmatchcase(name, one) for one in patterns)]
        free = [name for name in free if name not in named[split]]
    left = {
        "movies": named,
        "clips": {split: [name for name in names if name in clips] for split, names in scenes.clips.items()},
        "clip_fractions": {name: cut for name, cut in scenes.clip_fractions.items() if name in clips},
    }
    return scenes.model_copy(update={key: left[key] for key in left if getattr(scenes, key)})


def _natural(name: str) -> list[tuple[int, str]]:
    """Names in the order in which people have them: run-10 behind run-9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split("([0-9]+)", name)]
