"""`simdata plays`: what was shown when, and what is missing, before hours of work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd

from simdata.bold.formats import endings, open_run
from simdata.common.errors import UserError
from simdata.films.container import probe
from simdata.release.catalog import Catalog
from simdata.release.found_runs import Release, look_at
from simdata.release.plays import COLUMNS, Showing
from simdata.release.sources import Scan, find_film
from simdata.release.survey import survey

SLACK = 1.0  # s, that a play may go on behind the end of its scan or its film unmentioned


@dataclass(frozen=True, repr=False)
class PlayListing:
    """The table of plays, and what is missing.

    Attributes
    ----------
    table : pandas.DataFrame
        A row per stretch of film in a scan: ``subject, session, run, movie``, ``onset`` in the scan and
        ``film_start`` in the film, ``duration`` (NaN: to the end of either), all in s; ``scan_seconds`` and
        ``tr`` as the file says, NaN where it cannot be read; ``file``, below the source folder.
    missing : list of (str, str)
        What is missing or cannot be used, and why.
    """

    table: pd.DataFrame
    missing: list[tuple[str, str]]

    def __repr__(self) -> str:
        return f"PlayListing(rows={len(self.table)}, missing={len(self.missing)})"


def list_plays(
    catalog: Catalog, source: Path, movies: Path | None = None, subjects: Sequence[str] | None = None
) -> PlayListing:
    """What a catalog says was shown in the scans of a source; their headers are read.

    Raises
    ------
    UserError
        If the source has no run of the catalog, or its table of plays cannot be used.
    """
    release, faults = look_at(catalog, source, subjects, endings()), dict[str, str]()
    films = _film_lengths(catalog, movies, faults)
    rows, short = [], list[tuple[str, str]]()
    for showing in release.plays.lines:
        tr, length = _header(catalog, showing, faults)
        rows.append({**showing.cells, "scan_seconds": length, "tr": tr, "file": showing.scan.relative})
        short += _too_short(showing, length, films)
    table = pd.DataFrame(rows, columns=[*COLUMNS, "scan_seconds", "tr", "file"])
    missing = [
        *((run.relative, str(error)) for run, error in release.found.unusable),
        *faults.items(),
        *_absent(catalog, release),
        *short,
        *((one.path, one.reason) for one in survey(catalog, source, release.found, endings())),
    ]
    table = table.astype({"onset": float, "film_start": float, "duration": float})
    return PlayListing(table, list(dict.fromkeys(missing)))


def _header(catalog: Catalog, showing: Showing, faults: dict[str, str]) -> tuple[float, float]:
    """TR and length of a scan, s; NaN where its file cannot be read."""
    try:
        return _read(showing.scan.scan, catalog.tr, catalog.mesh)
    except UserError as error:
        faults[showing.scan.relative] = str(error)
        return float("nan"), float("nan")


@lru_cache(maxsize=64)
def _read(scan: Scan, tr: float | None, mesh: str | None) -> tuple[float, float]:
    series = open_run(*scan.files, tr=tr, mesh=mesh, inside=scan.inside)
    return series.tr, series.tr * series.volumes


def _film_lengths(catalog: Catalog, movies: Path | None, faults: dict[str, str]) -> dict[str, float]:
    """The lengths of the films that are there."""
    if movies is None:
        return {}
    lengths = {}
    for movie in catalog.movies:
        try:
            lengths[movie.name] = probe(find_film(movie, movies).path).duration
        except UserError as error:
            faults[f"film of {movie.name}"] = str(error)
    return lengths


def _absent(catalog: Catalog, release: Release) -> Iterator[tuple[str, str]]:
    """Subjects without any scan of a movie."""
    known = {(run.subject, run.movie.name) for run in release.found.all}
    for movie in catalog.movies:
        without = [subject for subject in release.found.subjects if (subject, movie.name) not in known]
        if without:
            more = f" and {len(without) - 9} more" if len(without) > 9 else ""
            yield movie.name, f"not seen by {', '.join(without[:9])}{more}"


def _too_short(
    showing: Showing, scan_seconds: float, films: Mapping[str, float]
) -> Iterator[tuple[str, str]]:
    """A play that begins behind the end of its scan or film, or is said to go on behind it."""
    play, movie, file = showing.play, showing.movie.name, showing.scan.relative
    end = play.onset + (play.duration or 0.0)
    if play.onset >= scan_seconds:
        yield file, f"{movie} begins at {play.onset:g} s, and the scan ends at {scan_seconds:g} s"
    elif end > scan_seconds + SLACK:
        yield file, f"{movie} goes on for {end - scan_seconds:.1f} s when the scan has ended"
    if play.film_start >= films.get(movie, float("inf")):
        yield file, f"is of {movie} from {play.film_start:g} s on, where that has ended"
