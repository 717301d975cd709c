"""The table of plays: which stretch of which film was shown when in which scan.

Everything else only makes it: a catalog's rule, events beside the scans, or a table of the user's. It holds
offsets, films that went over several scans, scans with several films, repeats, breaks, and crops that differ
by subject.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from simdata.common.errors import UserError
from simdata.release.catalog import Catalog, Movie
from simdata.release.event_plays import event_plays
from simdata.release.play_rules import PlayRule
from simdata.release.sources import NamedScan, Part, Play, Rejected, Run
from simdata.release.text_tables import Line, read_table

COLUMNS = ("subject", "session", "run", "movie", "onset", "film_start", "duration")
SAME = 1e-3  # s, between times that are one


@dataclass(frozen=True)
class Showing:
    """A line of the table: what of a movie was shown in a scan."""

    scan: NamedScan
    movie: Movie
    play: Play

    @property
    def cells(self) -> dict[str, str | float | None]:
        """Column -> value, as the table has it."""
        scan, play = self.scan, self.play
        return {
            "subject": scan.subject,
            "session": scan.session,
            "run": scan.run,
            "movie": self.movie.name,
            "onset": play.onset,
            "film_start": play.film_start,
            "duration": play.duration,
        }


@dataclass
class PlayTable:
    """All that was shown.

    Attributes
    ----------
    lines : by scan and time
    faults : scans whose plays cannot be told, with the message
    without : scans in which no film of the catalog was shown, and lines that are of no scan
    """

    lines: list[Showing] = field(default_factory=list)
    faults: list[tuple[NamedScan, UserError]] = field(default_factory=list)
    without: list[Rejected] = field(default_factory=list)

    def runs(self) -> list[tuple[Run, UserError | None]]:
        """The cells of a store, each with what is wrong with it, by subject and movie."""
        cells: dict[tuple[str, str], list[Showing]] = {}
        for line in self.lines:
            cells.setdefault((line.scan.subject, line.movie.name), []).append(line)
        return [_run(lines) for lines in cells.values()]


def play_table(catalog: Catalog, scans: Sequence[NamedScan], source: Path) -> PlayTable:
    """What a catalog says was shown in scans.

    Parameters
    ----------
    scans : of all subjects, each subject's in order of time where that is known
    source : the folder that the paths of scans are below

    Raises
    ------
    UserError
        If the catalog's own table cannot be read, or names what the catalog does not have.
    """
    table, named = PlayTable(), {movie.name: movie for movie in catalog.movies}
    if catalog.plays.table is not None:
        return _from_table(catalog, scans, _table_file(catalog, catalog.plays.table, source))
    seen: dict[tuple[str, str], list[NamedScan]] = {}
    for scan in scans:
        try:
            if catalog.plays.events is not None:
                found, unknown = event_plays(catalog, catalog.plays.events, scan)
                table.without += unknown
                lines = [Showing(scan, named[movie], play) for movie, play in found]
            else:
                movie = named[_movie_of(catalog, scan)]
                earlier = seen.setdefault((scan.subject, movie.name), [])
                lines = [Showing(scan, movie, _by_rule(catalog, movie, len(earlier)))]
                earlier.append(scan)
        except UserError as error:
            table.faults.append((scan, error))
            continue
        if not lines:
            table.without.append(Rejected(scan.relative, "its events show no film of the catalog"))
        table.lines += lines
    return table


def _movie_of(catalog: Catalog, scan: NamedScan) -> str:
    return catalog.movies[0].name if scan.movie is None else scan.movie


def _by_rule(catalog: Catalog, movie: Movie, number: int) -> Play:
    """The play of the ``number``-th scan of a movie."""
    rules = movie.plays or [catalog.plays.rule]
    if number < len(rules):
        return _as_play(rules[number])
    if len(rules) == 1:
        return _as_play(rules[0])  # the same stretch again: told when the cell is made
    raise UserError(f"plays of {movie.name}: has {len(rules)} rules, and there is another scan of it")


def _as_play(rule: PlayRule) -> Play:
    return Play(
        float(rule.onset), float(rule.film_start), None if rule.duration is None else float(rule.duration)
    )


def _table_file(catalog: Catalog, name: str, source: Path) -> Path:
    folders = [*([catalog.folder] if catalog.folder else []), source]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"plays.table of the catalog: there is no {name} in {' or '.join(map(str, folders))}")


def _from_table(catalog: Catalog, scans: Sequence[NamedScan], path: Path) -> PlayTable:
    """The plays of a user's table: lines of a subject, and lines of all others for what they don't say."""
    lines = [_UserLine.of(line, catalog) for line in read_table(path, ("movie", "onset"))]
    own = {(line.subject, line.movie.name) for line in lines if line.subject}
    table, by_subject = PlayTable(), dict[str, list[NamedScan]]()
    for scan in scans:
        by_subject.setdefault(_label(scan.subject, "subject"), []).append(scan)
    shown: dict[NamedScan, list[Showing]] = {scan: [] for scan in scans}
    for line in lines:
        subjects = [line.subject] if line.subject else list(by_subject)
        fitting = 0
        for subject in subjects:
            if not line.subject and (subject, line.movie.name) in own:
                fitting += 1
                continue
            found = [scan for scan in by_subject.get(subject, []) if line.is_of(scan)]
            fitting += len(found)
            if len(found) > 1:
                said = f"{line.place}: is of {len(found)} scans of {subject}; give their session or run"
                table.faults += [(scan, UserError(said)) for scan in found]
            elif found:
                shown[found[0]].append(Showing(found[0], line.movie, line.play))
        if not fitting:
            table.without.append(Rejected(path.name, f"{line.place.rsplit(', ', 1)[1]} is of no scan"))
    broken = {scan for scan, _ in table.faults}
    for scan, found_lines in shown.items():
        if scan not in broken and not found_lines:
            table.without.append(Rejected(scan.relative, f"{path.name} has no line of it"))
        table.lines += [] if scan in broken else sorted(found_lines, key=lambda one: one.play.onset)
    return table


@dataclass(frozen=True)
class _UserLine:
    """A line of a user's table."""

    place: str
    subject: str
    session: str
    run: str
    movie: Movie
    play: Play

    @classmethod
    def of(cls, line: Line, catalog: Catalog) -> _UserLine:
        movies = {movie.name: movie for movie in catalog.movies}
        if (name := line.text("movie")) not in movies:
            known = ", ".join(list(movies)[:9])
            raise UserError(f"{line.place}: movie is {name[:60]!r}; the catalog has {known}")
        onset, duration = line.seconds("onset"), line.seconds("duration", least=0.001)
        if onset is None:
            raise UserError(
                f"{line.place}: has no onset; write the second of the scan at which the film begins"
            )
        play = Play(onset, line.seconds("film_start") or 0.0, duration)
        subject, session, run = (_label(line.text(column), column) for column in COLUMNS[:3])
        return cls(line.place, subject, session, run, movies[name], play)

    def is_of(self, scan: NamedScan) -> bool:
        """Whether it is of a subject's scan."""
        if self.session and self.session != _label(scan.session, "session"):
            return False
        if self.run and self.run != _label(scan.run, "run"):
            return False
        return scan.movie in (None, self.movie.name)


def _label(text: str, column: str) -> str:
    """What a name says, however it is written: ``ses-01``, ``01`` and ``1`` are one session."""
    label = re.sub("^(sub|ses|run)-", "", text)
    return label.lstrip("0") or label[-1:] if column != "subject" and label.isdigit() else label


def _run(lines: Sequence[Showing]) -> tuple[Run, UserError | None]:
    """A cell, and what is wrong with it."""
    first, plays = lines[0], dict[NamedScan, list[Play]]()
    for line in lines:
        plays.setdefault(line.scan, []).append(line.play)
    ended = {scan: _ended(of_scan) for scan, of_scan in plays.items()}
    starts = sorted({play.film_start for of_scan in ended.values() for play in of_scan})
    parts = tuple(
        Part(scan.scan, tuple(_up_to_next(play, starts) for play in of_scan))
        for scan, of_scan in ended.items()
    )
    run = Run(first.scan.subject, first.movie, parts)
    return run, _overlap(run, list(ended))


def _ended(plays: Iterable[Play]) -> list[Play]:
    """Plays of a scan in order of time; one without an end ends where the next begins."""
    ordered = sorted(plays, key=lambda play: play.onset)
    for place, (play, later) in enumerate(pairwise(ordered)):
        if play.duration is None:
            ordered[place] = replace(play, duration=max(later.onset - play.onset, SAME))
    return ordered


def _up_to_next(play: Play, starts: Sequence[float]) -> Play:
    """A play that has no end, up to where the next scan goes on with the film."""
    later = [start for start in starts if start > play.film_start + SAME]
    return replace(play, duration=later[0] - play.film_start) if play.duration is None and later else play


def _overlap(run: Run, scans: Sequence[NamedScan]) -> UserError | None:
    """What is wrong where two plays are of the same second of a film, or at the same time of a scan."""
    rows: list[tuple[int, float]] = []
    for part, scan in zip(run.parts, scans, strict=True):
        for play, later in pairwise(part.plays):
            if play.onset + (play.duration or math.inf) > later.onset + SAME:
                return UserError(
                    f"{run.path}: {run.movie.name} is shown from {play.onset:g} s on and again from "
                    f"{later.onset:g} s on, before that ends"
                )
        for play in part.plays:
            rows.append(_rows(play))
            twice = [other for other in rows[:-1] if min(other[1], rows[-1][1]) > max(other[0], rows[-1][0])]
            if twice:
                names = ", ".join(dict.fromkeys(one.relative for one in scans))
                begin = max(twice[0][0], rows[-1][0])
                return UserError(
                    f"{scan.path}: second {begin:g} of {run.movie.name} was shown to {run.subject} more than "
                    f"once ({names}). If the film goes on from scan to scan, say in `plays` where "
                    "(film_start); if it was seen again, list it again as a movie of another name"
                )
    return None


def _rows(play: Play) -> tuple[int, float]:
    """[first, stop) seconds of film whose middles are in a play."""
    stop = math.inf if play.duration is None else math.ceil(play.film_start + play.duration - 0.5 - SAME)
    return math.ceil(play.film_start - 0.5), stop
