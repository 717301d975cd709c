"""What lies in a source, looks like a subject or a run, and was not taken: each with the reason.

Looking ends after so many entries of folders, whatever the tree is like.
"""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from simdata.common.errors import UserError
from simdata.common.hdf5 import INSIDE
from simdata.release.catalog import Catalog
from simdata.release.pattern_scans import Naming, candidates, component_regex
from simdata.release.patterns import FIELDS
from simdata.release.sources import GZIPPED, RESERVED, Found, Rejected, entries, is_utf8, may_be_folder

ANY_CONTENT = (".csv", ".tsv", ".h5", ".hdf5")  # endings that do not tell of BOLD by themselves
MOST_ENTRIES = 300_000  # of folders that are looked through
MOST_OF_A_FOLDER = 5_000  # of those, below one folder of the source
DEEPER = 4  # levels below a pattern's own that are looked at


def survey(catalog: Catalog, source: Path, found: Found, endings: Iterable[str]) -> list[Rejected]:
    """Everything below ``source`` that looks like a subject or a run, and is neither taken nor unusable.

    ``endings`` are those of the names of runs of any data set, such as ``.dtseries.nii``.
    """
    if catalog.is_bids:  # its search says all of it
        return found.passed_over
    files = [pattern.partition(INSIDE)[0] for pattern in catalog.patterns]
    own = [end for end in endings if end not in ANY_CONTENT or any(file.endswith(end) for file in files)]
    return _Survey(catalog, source, found, _run_like(own)).all()


@dataclass
class _Survey:
    catalog: Catalog
    source: Path
    found: Found
    run_like: re.Pattern[str]
    rejected: dict[str, Rejected] = field(default_factory=dict)
    looked: int = 0

    def __post_init__(self) -> None:
        catalog = self.catalog
        self._subjects = set(self.found.subjects)
        self._known = {(run.subject, run.movie.name) for run in self.found.all}
        self._expected = {
            path.partition(INSIDE)[0]: (subject, movie.name)
            for subject in self.found.subjects
            for movie in catalog.movies
            for path in candidates(catalog, self.source, subject, movie)
        }
        patterns = [pattern.partition(INSIDE)[0] for pattern in catalog.patterns]
        self._leaves = {PurePosixPath(path).name for path in self._expected}
        # What stands in a pattern between its fields; each field may be anything.
        self._paths = [re.compile(_loose(pattern) + ".*", re.IGNORECASE) for pattern in patterns]
        self._folders = [
            re.compile(_loose(part), re.IGNORECASE)
            for pattern in patterns
            for part in pattern.split("/")[:-1]
            if part != "{subject}"
        ]
        self._files = [re.compile(_loose(p.split("/")[-1]) + ".*", re.IGNORECASE) for p in patterns]
        self._depth = max(pattern.count("/") for pattern in patterns)
        self._id = re.compile(f"(?<![0-9A-Za-z])(?:{catalog.subject_pattern})(?![0-9A-Za-z])", re.IGNORECASE)

    def all(self) -> list[Rejected]:
        self._add_all(self.found.passed_over)
        for pattern in self.catalog.patterns:
            naming = Naming.of(self.catalog, pattern)
            for folder in naming.folders(self.catalog, self.source):
                for entry in entries(self.source / folder):
                    self._look_at(f"{folder}/{entry.name}".lstrip("/"), entry, naming)
        self._subjects_without_runs()
        if self.looked >= MOST_ENTRIES:
            self._add(
                ".", f"holds more than {MOST_ENTRIES:,} files in folders; the others were not looked at"
            )
        return list(self.rejected.values())

    def _look_at(self, path: str, entry: os.DirEntry, naming: Naming) -> None:
        """Look at an entry that lies where the catalog expects a subject."""
        if not is_utf8(entry.name):
            self._add(path, "its name is not UTF-8; rename it")
            return
        if entry.name == RESERVED:
            self._add(path, f"no subject may be called {RESERVED!r}; rename it")
            return
        subject = naming.subject(entry)
        if subject is not None and subject not in self._subjects:  # others were asked for
            return
        if not naming.is_folder:
            self._file(path, subject)
            if may_be_folder(entry):
                self._below(path, thorough=False, subject=None)
        elif subject is not None:
            whole = {(subject, movie.name) for movie in self.catalog.movies} <= self._known
            self._below(path, thorough=not whole, subject=subject)
        elif not may_be_folder(entry):
            if self._id.match(entry.name):
                archive = "; unpack it" if entry.name.endswith((".zip", ".tar", ".gz", ".tgz")) else ""
                self._add(path, f"is a file, where the catalog expects a subject's folder{archive}")
            else:
                self._file(path, None)
        elif self._id.search(entry.name) or any(True for _ in self._runs_below(path, thorough=True)):
            self._add(path, self._no_id())

    def _no_id(self) -> str:
        return (
            f"its name is not that of a subject (subject_pattern {self.catalog.subject_pattern}); rename it, "
            "or change the catalog"
        )

    def _below(self, path: str, *, thorough: bool, subject: str | None) -> None:
        for file in self._runs_below(path, thorough):
            self._file(file, subject)

    def _file(self, path: str, subject: str | None) -> None:
        """Say why a file that looks like a run was not taken, unless it is a product of one that was."""
        name = PurePosixPath(path).name
        if path in self._expected or not (
            self.run_like.search(name) or any(f.fullmatch(name) for f in self._files)
        ):
            return
        if reason := self._reason(path, name, subject):
            self._add(path, reason)

    def _reason(self, path: str, name: str, subject: str | None) -> str | None:
        for regex in self._paths:
            match = regex.fullmatch(path)
            if match and (reason := self._field_reason(match.groupdict(), subject)):
                return reason
        movies = [movie.name for movie in self.catalog.movies if _names(name, movie.name)]
        if movies and subject and all((subject, movie) in self._known for movie in movies):
            return None  # another product of a run that was taken
        if path.casefold() in {expected.casefold() for expected in self._of(subject)}:
            return "differs from the catalog's pattern in upper and lower case"
        if name in self._leaves:
            return "lies in another folder than the catalog's patterns say; move it, or change bold"
        if movies or subject is None or not any(s == subject for s, _ in self._known):
            return "is not named as the catalog's patterns say"
        return None

    def _field_reason(self, fields: dict[str, str], subject: str | None) -> str | None:
        """What is wrong with the fields of a file that is where a pattern puts one."""
        named = {movie.name: movie for movie in self.catalog.movies}
        if subject is None and not re.fullmatch(self.catalog.subject_pattern, fields["subject"]):
            return self._no_id()
        movie = named.get(fields.get("movie", next(iter(named))))
        if movie is None:
            lower = {name.casefold(): name for name in named}
            if fields["movie"].casefold() in lower:
                return "differs from the catalog's pattern in upper and lower case"
            return "is of no movie of the catalog"
        said = fields.get("phase_encoding", movie.phase_encoding)
        taken = (subject or fields["subject"], movie.name) in self._known
        if said != movie.phase_encoding and not taken:
            return f"its name says phase encoding {said}, the catalog {movie.phase_encoding}"
        return None

    def _of(self, subject: str | None) -> list[str]:
        if subject is None:
            return []
        return [
            path
            for movie in self.catalog.movies
            for path in candidates(self.catalog, self.source, subject, movie)
        ]

    def _runs_below(self, top: str, thorough: bool) -> Iterator[str]:
        """Files below a folder that look like runs; folders that a pattern names come first.

        Not ``thorough``, others are not entered.
        """
        waiting = [(0, 0, top)]
        left, visited = MOST_OF_A_FOLDER, set()
        while waiting:
            _, depth, folder = heapq.heappop(waiting)
            try:
                real = os.stat(self.source / folder)
                inside = entries(self.source / folder)
            except (OSError, UserError):
                if depth:  # what is wrong with a subject's own folder is said of its runs
                    self._add(folder, "cannot be listed")
                continue
            if (real.st_dev, real.st_ino) in visited:  # a link back
                continue
            visited.add((real.st_dev, real.st_ino))
            for entry in inside:
                left, self.looked = left - 1, self.looked + 1
                if left < 0 or self.looked > MOST_ENTRIES:
                    return
                path = f"{folder}/{entry.name}"
                if not is_utf8(entry.name):
                    if self.run_like.search(entry.name):
                        self._add(path, "its name is not UTF-8; rename it")
                elif self.run_like.search(entry.name) or any(f.fullmatch(entry.name) for f in self._files):
                    yield path
                elif depth < self._depth + DEEPER and _is_folder(entry):
                    named = any(f.fullmatch(entry.name) for f in self._folders)
                    if named or thorough or re.fullmatch(self.catalog.subject_pattern, entry.name):
                        heapq.heappush(waiting, (not named, depth + 1, path))

    def _subjects_without_runs(self) -> None:
        for subject in set(self.found.subjects) - set(self.found.with_runs):
            if not any(subject in path.split("/")[:2] for path in self.rejected):
                self._add(self._place(subject), self._why_without(subject))

    def _place(self, subject: str) -> str:
        """The subject's folder, as far as a pattern names it."""
        naming = Naming.of(self.catalog, self.catalog.patterns[0])
        part = next(part for part in self.catalog.patterns[0].split("/") if "{subject}" in part)
        folder = (naming.folders(self.catalog, self.source) or [naming.before])[0]
        return f"{folder}/{part.replace('{subject}', subject)}".lstrip("/")

    def _why_without(self, subject: str) -> str:
        folder = self.source / self._place(subject)
        try:
            empty = folder.is_dir() and not any(folder.iterdir())
        except OSError:
            return "cannot be listed"
        if empty and (self.source / ".datalad").exists():
            return (
                "is an empty folder: a DataLad data set that is not installed? Run `datalad get -n` with it"
            )
        return "is an empty folder" if empty else "holds no run of the catalog"

    def _add(self, path: str, reason: str) -> None:
        self.rejected.setdefault(path, Rejected(path, reason))

    def _add_all(self, several: Sequence[Rejected]) -> None:
        for one in several:
            self._add(one.path, one.reason)


def _run_like(endings: Iterable[str]) -> re.Pattern[str]:
    """Names with the words of an ending in them, also where something was put between those.

    An ending of one word, such as .nii, is that of much that is no run: it says nothing.
    """
    words = {tuple(filter(None, ending.removesuffix(GZIPPED).split("."))) for ending in endings}
    several = [".*".join(map(re.escape, some)) for some in sorted(words) if len(some) > 1]
    return re.compile("|".join(several) or "(?!)", re.IGNORECASE)


def _loose(pattern: str) -> str:
    anything = dict.fromkeys(FIELDS, "[^/]*?")
    return component_regex(pattern, **anything)


def _names(file: str, movie: str) -> bool:
    """Whether a movie's name stands in a file's, apart from other words."""
    return bool(re.search(rf"(?<![0-9A-Za-z]){re.escape(movie)}(?![0-9A-Za-z])", file, re.IGNORECASE))


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
