"""Plays from the events of BIDS: which rows are of a film, of which one, and which go on with each other."""

from __future__ import annotations

import re
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from simdata.common.errors import UserError
from simdata.release.catalog import Catalog
from simdata.release.play_rules import Events
from simdata.release.sources import NamedScan, Play, Rejected
from simdata.release.text_tables import Line, read_table

GAP = 0.1  # s, within which a row goes on with the one before: an event for each frame of a film is one play


def event_plays(
    catalog: Catalog, rule: Events, scan: NamedScan
) -> tuple[list[tuple[str, Play]], list[Rejected]]:
    """The plays of a scan, each with its movie, in order of time; and films that are no movie of the catalog.

    A movie that is shown again goes by its name with ``_2``, ``_3`` and so on, where the catalog has that.

    Raises
    ------
    UserError
        If the scan has no events, or they lack columns, or say no times.
    """
    if scan.scan.events is None:
        raise UserError(f"{scan.path}: has no events.tsv, which `plays.events` of the catalog reads")
    columns = [*rule.wanted, *filter(None, (rule.movie, rule.film_start))]
    names = {movie.name for movie in catalog.movies}
    found: list[tuple[str, Play]] = []
    unknown: Counter[str] = Counter()
    for line in read_table(scan.scan.events, ("onset", "duration", *columns)):
        if any(line.text(column) not in wanted for column, wanted in rule.wanted.items()):
            continue
        if rule.film_start is not None and not line.text(rule.film_start):
            continue
        movie = _movie_of(catalog, rule, scan, line)
        if movie is None:
            unknown[line.text(rule.movie or "")] += 1
        else:
            _add(found, movie, _play(rule, line), names)
    rejected = [
        Rejected(scan.relative, f"its events show {film[:60]!r} ({count} rows), no movie of the catalog")
        for film, count in unknown.items()
        if film
    ]
    return sorted(found, key=lambda one: one[1].onset), rejected


def _play(rule: Events, line: Line) -> Play:
    onset, duration = line.seconds("onset", least=-86_400), line.seconds("duration")
    if onset is None:
        raise UserError(f"{line.place}: has no onset")
    start = line.seconds(rule.film_start) or 0.0 if rule.film_start else 0.0
    if onset < 0:  # the film was on before the scan began
        start, duration, onset = start - onset, None if duration is None else duration + onset, 0.0
    return Play(onset, start, duration or None)


def _movie_of(catalog: Catalog, rule: Events, scan: NamedScan, line: Line) -> str | None:
    """The movie of a row, by its name or its film's."""
    if rule.movie is None:
        return catalog.movies[0].name if scan.movie is None else scan.movie
    said = line.text(rule.movie)
    file = PurePosixPath(said.replace("\\", "/"))
    for movie in catalog.movies:
        film = PurePosixPath(movie.video).name
        if movie.name in (said, file.name, file.stem) or fnmatchcase(file.name, film):
            return movie.name
    return None


def _add(found: list[tuple[str, Play]], movie: str, play: Play, names: set[str]) -> None:
    """Add a play, to the one before where it goes on with that, or as the movie seen again."""
    if found and (last := _joined(*found[-1], movie, play)):
        found[-1] = (found[-1][0], last)
        return
    before = [other for name, other in found if re.fullmatch(rf"{re.escape(movie)}(_[0-9]+)?", name)]
    again = f"{movie}_{1 + sum(_same(other, play) for other in before)}"
    found.append((again if again in names else movie, play))


def _joined(before: str, last: Play, movie: str, play: Play) -> Play | None:
    """Two plays as one, where the film goes on; None where it does not."""
    if last.duration is None or before != movie:
        return None
    passed, of_film = play.onset - last.onset, play.film_start - last.film_start
    goes_on = abs(passed - of_film) < GAP and 0 < passed <= last.duration + GAP
    if not goes_on:
        return None
    end = None if play.duration is None else passed + play.duration
    return Play(last.onset, last.film_start, end)


def _same(one: Play, other: Play) -> bool:
    """Whether two plays begin within one another's film."""
    first, second = sorted((one, other), key=lambda play: play.film_start)
    return first.duration is None or second.film_start < first.film_start + first.duration
