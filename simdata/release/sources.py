"""Which files of a release are on disk: runs by subject and movie, films by movie."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path

from simdata.common.errors import UserError
from simdata.common.fetched import check_content, is_there
from simdata.common.hdf5 import INSIDE
from simdata.release.catalog import Movie

GZIPPED = ".gz"  # a run may end in it whatever its pattern says


RESERVED = "film"  # no subject's id: keys of films begin with it


@dataclass(frozen=True)
class Scan:
    """One scan on disk.

    Attributes
    ----------
    files : the one file of its BOLD, or that of the left hemisphere and that of the right one
    relative : their paths below the source folder
    confounds : the table of its confounds, if that is used
    events : the table that says when what was shown in it, if there is one
    inside : name of the array with its BOLD, in a file that has several
    """

    files: tuple[Path, ...]
    relative: tuple[str, ...]
    confounds: Path | None = None
    events: Path | None = None
    inside: str = ""

    @property
    def inputs(self) -> dict[str, Path]:
        """Path below the source folder -> path, of each file that values come from."""
        inputs = dict(zip(self.relative, self.files, strict=True))
        if self.confounds is not None:
            source = str(self.files[0]).removesuffix(self.relative[0].partition(INSIDE)[0])
            inputs[os.path.relpath(self.confounds, source)] = self.confounds
        return inputs


@dataclass(frozen=True)
class NamedScan:
    """A scan, and what its place and its files' names say of it; "" is what they don't say.

    Attributes
    ----------
    movie : name of a movie of the catalog; None where it is for others to say what was shown
    """

    subject: str
    session: str
    run: str
    movie: str | None
    scan: Scan

    @property
    def path(self) -> Path:
        return self.scan.files[0]

    @property
    def relative(self) -> str:
        return self.scan.relative[0]


@dataclass(frozen=True)
class Play:
    """A stretch of film that was shown in a scan, in s.

    From scan time ``onset`` on, film time ``film_start`` on was shown for ``duration``, or to the end of
    either where that is None.
    """

    onset: float = 0.0
    film_start: float = 0.0
    duration: float | None = None


FROM_START = Play()  # film and scan begin together, and go on to the end of either


@dataclass(frozen=True)
class Part:
    """A scan, and the stretches of one film that were shown in it, in order of time."""

    scan: Scan
    plays: tuple[Play, ...] = (FROM_START,)


@dataclass(frozen=True)
class Run:
    """What one subject saw of one movie, on disk: a cell of the store.

    ``path`` and ``relative`` are those of its first file.
    """

    subject: str
    movie: Movie
    parts: tuple[Part, ...]

    @classmethod
    def of_file(cls, subject: str, movie: Movie, path: Path, relative: str) -> Run:
        """One file, in which the film begins with the scan."""
        return cls(subject, movie, (Part(Scan((path,), (relative,))),))

    @property
    def key(self) -> str:
        return f"{self.subject}/{self.movie.name}"

    @property
    def path(self) -> Path:
        return self.parts[0].scan.files[0]

    @property
    def relative(self) -> str:
        return self.parts[0].scan.relative[0]

    @property
    def inputs(self) -> dict[str, Path]:
        """Path below the source folder -> path, of each file that values come from."""
        return {relative: path for part in self.parts for relative, path in part.scan.inputs.items()}


@dataclass(frozen=True)
class Rejected:
    """Something in the source that was not taken: its path below the source folder, and why."""

    path: str
    reason: str


@dataclass
class Found:
    """What a source holds.

    Attributes
    ----------
    subjects : all that were asked for, or seen: also those without a run
    runs : those to convert
    unusable : runs that are there but cannot be read, with the message
    kept : runs that are in the store, and whose content is here no more
    passed_over : other files of ``runs``: better products that were not fetched, links of other subjects
    """

    subjects: list[str] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    unusable: list[tuple[Run, UserError]] = field(default_factory=list)
    passed_over: list[Rejected] = field(default_factory=list)
    kept: list[Run] = field(default_factory=list)

    @property
    def all(self) -> list[Run]:
        return [*self.runs, *self.kept, *(run for run, _ in self.unusable)]

    @property
    def with_runs(self) -> list[str]:
        """The subjects with a run, be it unusable, in order."""
        present = {run.subject for run in self.all}
        return [subject for subject in self.subjects if subject in present]


def entries(folder: Path) -> list[os.DirEntry]:
    """What is in a folder, by name, without hidden files such as macOS's ``._`` and ``.DS_Store``.

    Nothing if there is no such folder.

    Raises
    ------
    UserError
        If it cannot be listed.
    """
    try:
        with os.scandir(folder) as found:
            return sorted((e for e in found if not e.name.startswith(".")), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({(error.strerror or str(error)).lower()})") from None


def may_be_folder(entry: os.DirEntry) -> bool:
    """Whether an entry is a folder, or a link that cannot be followed to one."""
    try:
        return entry.is_dir() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True


def is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class Film:
    """The stimulus of one movie on disk; ``relative`` is its path below the movies folder.

    ``transcript`` is the file of what is said in it, if that is known and used.
    """

    movie: Movie
    path: Path
    relative: str
    transcript: Path | None = None

    @property
    def key(self) -> str:
        return f"film/{self.movie.name}"

    @property
    def inputs(self) -> dict[str, Path]:
        """Path below the movies folder -> path, of its file, and of its transcript."""
        inputs = {self.relative: self.path}
        if self.transcript is not None:
            folder = str(self.path).removesuffix(self.relative)
            inputs[os.path.relpath(self.transcript, folder)] = self.transcript
        return inputs


def find_film(movie: Movie, movies: Path) -> Film:
    """The film of a movie below the movies folder, and its transcript if the catalog names one.

    Raises
    ------
    UserError
        If there is none, or more than one, or it cannot be read.
    """
    if not os.path.isdir(movies):
        raise UserError(f"`movies` {movies}: is not a folder")
    path = _only(movies, movie.video, "film", movie.name)
    said = None if movie.transcript is None else _only(movies, movie.transcript, "transcript", movie.name)
    return Film(movie, path, str(path.relative_to(movies)), said)


def _only(movies: Path, pattern: str, what: str, movie: str) -> Path:
    """The one file of a pattern."""
    found = _matching(movies, pattern.split("/"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"`movies` {movies}: has several {what}s of {movie} ({names}); keep what was shown")
    if not found:
        other = _matching(movies, pattern.split("/"), re.IGNORECASE)
        hint = f"; {other[0].name} differs in upper and lower case" if other else ""
        raise UserError(f"`movies` {movies}: has no {what} of {movie} (looked for {pattern}{hint})")
    if not is_utf8(str(found[0])):
        raise UserError(f"`movies` {movies}: the name of the {what} of {movie} is not UTF-8; rename it")
    check_content(found[0])
    return found[0]


def refuse_one_film_twice(films: Sequence[Film]) -> None:
    """Raise a UserError if a file is the film, or the transcript, of movies whose ``video`` differ.

    Of the same ``video``, one is the other seen again.
    """
    for place, film in enumerate(films):
        for other in films[:place]:
            if film.movie.video == other.movie.video:
                continue
            if film.transcript and other.transcript and film.transcript.samefile(other.transcript):
                raise UserError(
                    f"{film.transcript}: is the transcript of {other.movie.name} and of {film.movie.name} "
                    "(transcript in the catalog): each needs a file of its own"
                )
            if film.path.samefile(other.path):
                raise UserError(
                    f"{film.path}: is the film of {other.movie.name} and of {film.movie.name} (video in the "
                    f"catalog, {other.movie.video} and {film.movie.video}): each needs a file of its own, or "
                    "the same `video`, if one is the other seen again"
                )


def _matching(folder: Path, parts: Sequence[str], flags: int = 0) -> list[Path]:
    """Paths below a folder whose names match shell patterns, one for each part."""
    regex = re.compile(translate(parts[0]), flags)
    named = folder / parts[0]
    if not flags and (not any(sign in parts[0] for sign in "*?[") or is_there(named)):
        found = [named]  # a plain name needs no listing; a file may have signs of patterns in its own
    else:
        found = [folder / entry.name for entry in entries(folder) if regex.match(entry.name)]
    if len(parts) == 1:
        return [path for path in found if is_there(path)]
    return [path for inside in found if os.path.isdir(inside) for path in _matching(inside, parts[1:], flags)]
