"""Scans of a release by the path patterns of its catalog."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from simdata.common.errors import UserError
from simdata.common.fetched import NotFetched, check_content, is_there
from simdata.common.hdf5 import INSIDE, arrays_in
from simdata.release.catalog import Catalog, Movie
from simdata.release.patterns import HEMISPHERE
from simdata.release.sources import (
    GZIPPED,
    RESERVED,
    NamedScan,
    Rejected,
    Scan,
    entries,
    is_utf8,
    may_be_folder,
)

LABEL = "[0-9A-Za-z]+"  # what {run}, and {session} where a movie does not say it, may be
WILD = re.compile(r"\{(session|run)\}")
PAIRS = (("L", "R"), ("lh", "rh"))  # what {hemisphere} stands for
SIDES = [side for pair in PAIRS for side in pair]
Labels = tuple[str, str]  # session and run


@dataclass
class PatternScans:
    """What patterns found.

    Attributes
    ----------
    scans : each with what is wrong with its content, by movie, session and run
    passed_over : better products of them whose content was not fetched
    """

    scans: list[tuple[NamedScan, UserError | None]] = field(default_factory=list)
    passed_over: list[Rejected] = field(default_factory=list)


def find_subjects(catalog: Catalog, source: Path) -> list[str]:
    """Ids of all subjects that have a folder or file where a bold pattern puts one, sorted."""
    if not os.path.isdir(source):
        raise UserError(f"`source` {source}: is not a folder")
    subjects: set[str] = set()
    for pattern in catalog.patterns:
        naming = Naming.of(catalog, pattern)
        for folder in naming.folders(catalog, source):
            subjects.update(filter(None, map(naming.subject, entries(source / folder))))
    return sorted(subjects)


@dataclass(frozen=True)
class Naming:
    """The part of a bold pattern that names the subject: which folders it is in, and what it is like.

    Only that part is listed: a release has millions of files.
    """

    before: str
    regex: re.Pattern[str]
    is_folder: bool

    @classmethod
    def of(cls, catalog: Catalog, pattern: str) -> Naming:
        parts = pattern.partition(INSIDE)[0].split("/")
        depth = next(i for i, part in enumerate(parts) if "{subject}" in part)
        regex = component_regex(
            parts[depth],
            subject=catalog.subject_pattern,
            movie=_one_of(movie.name for movie in catalog.movies),
            phase_encoding=_one_of(movie.phase_encoding for movie in catalog.movies),
            session=LABEL,
            run=LABEL,
            hemisphere=_one_of(SIDES),
        )
        is_folder = depth < len(parts) - 1
        end = "" if is_folder else f"(?:{re.escape(GZIPPED)})?"
        return cls("/".join(parts[:depth]), re.compile(regex + end), is_folder)

    def folders(self, catalog: Catalog, source: Path) -> list[str]:
        """Paths below the source folder that hold what names a subject."""
        filled = dict.fromkeys(_filled(self.before, "", movie) for movie in catalog.movies)
        return [folder for path in filled for folder, _ in _places(source, path)]

    def subject(self, entry: os.DirEntry) -> str | None:
        """The subject that an entry of such a folder names, if it does."""
        match = self.regex.fullmatch(entry.name)
        if match is None or match["subject"] in ("", RESERVED) or not is_utf8(entry.name):
            return None
        return match["subject"] if not self.is_folder or may_be_folder(entry) else None


def component_regex(component: str, **fields: str) -> str:
    """A regular expression for one part of a pattern; each field is a group, and the same where it recurs."""
    regex, seen = "", set()
    for part in re.split(r"(\{\w+\})", component):
        name = part[1:-1]
        if not re.fullmatch(r"\{\w+\}", part):
            regex += re.escape(part)
        elif name in seen:
            regex += f"(?P={name})"
        else:
            seen.add(name)
            regex += f"(?P<{name}>{fields[name]})"
    return regex


def _one_of(names: Iterable[str]) -> str:
    return "|".join(dict.fromkeys(map(re.escape, names)))


def _filled(pattern: str, subject: str, movie: Movie) -> str:
    fields = {"subject": subject, "movie": movie.name, "phase_encoding": movie.phase_encoding}
    if movie.session is not None:
        fields["session"] = str(movie.session)
    for name, value in fields.items():
        pattern = pattern.replace(f"{{{name}}}", value)
    return pattern


def find_scans(catalog: Catalog, source: Path, subject: str) -> PatternScans:
    """The scans of a subject.

    Of several products of a scan the catalog's first pattern wins; one whose content was not fetched makes
    way for the next.
    """
    found = PatternScans()
    by_movie = [pattern for pattern in catalog.patterns if "{movie}" in pattern]
    for movie in catalog.movies if by_movie else catalog.movies[:1]:
        for labels, paths in sorted(_by_scan(catalog, source, subject, movie).items(), key=_order):
            _take(catalog, source, (subject, *labels, movie.name if by_movie else None), paths, found)
    return found


def _order(item: tuple[Labels, list[str]]) -> list[tuple[int, str]]:
    return [(int(label), "") if label.isdigit() else (0, label) for label in item[0]]


def candidates(catalog: Catalog, source: Path, subject: str, movie: Movie) -> list[str]:
    """Where the files of a movie's scans may lie below the source folder, best first."""
    paths = [path for paths in _by_scan(catalog, source, subject, movie).values() for path in paths]
    return [file for path in paths for files in _file_names(path) for file in files]


def _by_scan(catalog: Catalog, source: Path, subject: str, movie: Movie) -> dict[Labels, list[str]]:
    """Session and run of each scan -> where it may lie, best first; {hemisphere} stands as it is."""
    session = "" if movie.session is None else str(movie.session)
    scans: dict[Labels, list[str]] = {}
    for pattern in catalog.patterns:
        file, inside, name = _filled(pattern, subject, movie).partition(INSIDE)
        for path, labels in _places(source, file, "" if inside else GZIPPED):
            for array, more in _arrays(source / path, name, labels) if inside else [("", labels)]:
                scan = more.get("session", session), more.get("run", "")
                scans.setdefault(scan, []).append(f"{path}{inside}{array}")
    return scans


def _arrays(file: Path, name: str, labels: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
    """Names of arrays in a file that one with {session} and {run} in it stands for, and what is there."""
    for place, label in labels.items():
        name = name.replace(f"{{{place}}}", label)
    if not is_there(file):
        return []
    regex = re.compile(component_regex(name, session=LABEL, run=LABEL))
    matches = [(array, regex.fullmatch(array)) for array in arrays_in(file)]
    return [(array, labels | match.groupdict()) for array, match in matches if match]


def _places(source: Path, path: str, end: str = "") -> list[tuple[str, dict[str, str]]]:
    """Paths that a path with {session} and {run} in it stands for, and what is in their places.

    One without them stands for itself, and that with ``end``, be they there or not.
    """
    if not WILD.search(path):
        return [(path, {}), (path + end, {})] if end else [(path, {})]
    found: list[tuple[str, dict[str, str]]] = [("", {})]
    parts = path.split("/")
    for depth, part in enumerate(parts):
        last = end if depth == len(parts) - 1 else ""
        found = [one for folder, labels in found for one in _inside(source, folder, part, labels, last)]
    return found


def _inside(
    source: Path, folder: str, part: str, labels: dict[str, str], end: str
) -> list[tuple[str, dict[str, str]]]:
    """What a part of a path stands for in a folder."""
    for name, label in labels.items():
        part = part.replace(f"{{{name}}}", label)
    below = f"{folder}/" if folder else ""
    if not WILD.search(part):
        return [(below + part, labels), (below + part + end, labels)] if end else [(below + part, labels)]
    fields = component_regex(part, session=LABEL, run=LABEL, hemisphere=_one_of(SIDES))
    regex = re.compile(f"{fields}(?:{re.escape(end)})?")
    found = {}
    for entry in entries(source / folder):
        if (match := regex.fullmatch(entry.name)) and is_utf8(entry.name):
            fields_of = match.groupdict()
            name = entry.name
            if fields_of.pop("hemisphere", None):  # both files of a scan are one place
                name = name[: match.start("hemisphere")] + HEMISPHERE + name[match.end("hemisphere") :]
            found[below + name] = labels | fields_of
    return list(found.items())


def _take(
    catalog: Catalog,
    source: Path,
    names: tuple[str, str, str, str | None],
    paths: Iterable[str],
    found: PatternScans,
) -> None:
    """Add the first product of a scan that can be read, if there is any."""
    waiting: list[tuple[NamedScan, UserError]] = []
    for relative in paths:
        scan = NamedScan(*names, _scan_at(source, relative))
        try:
            _check_files(scan.scan)
        except FileNotFoundError:
            continue
        except NotFetched as error:
            waiting.append((scan, error))
        except UserError as error:
            found.scans.append((scan, error))
            return
        else:
            found.scans.append((_with_events(catalog, scan), None))
            found.passed_over += [
                Rejected(
                    better.relative, "content not fetched; a product that the catalog lists later was taken"
                )
                for better, _ in waiting
            ]
            return
    found.scans += waiting[:1]


def _file_names(path: str) -> list[tuple[str, ...]]:
    """The files that a place stands for: one, or the pairs of hemispheres by either way of naming them."""
    if HEMISPHERE not in path:
        return [(path,)]
    return [tuple(path.replace(HEMISPHERE, side) for side in pair) for pair in PAIRS]


def _scan_at(source: Path, path: str) -> Scan:
    file, _, inside = path.partition(INSIDE)
    if inside:
        return Scan((source / file,), (path,), inside=inside)
    names = _file_names(path)
    there = (files for files in names if any(is_there(source / file) for file in files))
    files = next(there, names[0])
    return Scan(tuple(source / file for file in files), files)


def _check_files(scan: Scan) -> None:
    """As `check_content`, of all files of a scan; one hemisphere alone is a UserError."""
    missing = []
    for path in scan.files:
        try:
            check_content(path)
        except FileNotFoundError as error:
            missing.append((path, error))
    if len(missing) == len(scan.files):
        raise missing[0][1]
    for path, _ in missing:
        (other,) = set(scan.files) - {path}
        raise UserError(f"{other}: is one hemisphere, and the other, {path.name}, is not beside it; get it")


def _with_events(catalog: Catalog, named: NamedScan) -> NamedScan:
    """The scan with its events, where the catalog reads them: ``X_events.tsv`` beside ``X_..._bold.nii``."""
    if catalog.plays.events is None:
        return named
    words = named.path.name.split("_")
    for count in range(len(words), 0, -1):
        events = named.path.with_name("_".join([*words[:count], "events.tsv"]))
        if events.is_file():
            return replace(named, scan=replace(named.scan, events=events))
    return named
