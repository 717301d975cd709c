"""Which files of a release are on disk: runs by subject and movie, films by movie."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path

from simdata.common.errors import UserError
from simdata.common.fetched import NotFetched, check_content, is_there
from simdata.release.catalog import Catalog, Movie

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
    """

    files: tuple[Path, ...]
    relative: tuple[str, ...]
    confounds: Path | None = None
    events: Path | None = None

    @property
    def inputs(self) -> dict[str, Path]:
        """Path below the source folder -> path, of each file that values come from."""
        inputs = dict(zip(self.relative, self.files, strict=True))
        if self.confounds is not None:
            source = str(self.files[0]).removesuffix(self.relative[0])
            inputs[os.path.relpath(self.confounds, source)] = self.confounds
        return inputs


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


def find_subjects(catalog: Catalog, source: Path) -> list[str]:
    """Ids of all subjects that have a folder or file where a bold pattern puts one, sorted."""
    if not os.path.isdir(source):
        raise UserError(f"`source` {source}: is not a folder")
    subjects: set[str] = set()
    for pattern in catalog.bold:
        naming = Naming.of(catalog, pattern)
        for folder in naming.folders(catalog):
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
        parts = pattern.split("/")
        depth = next(i for i, part in enumerate(parts) if "{subject}" in part)
        regex = component_regex(
            parts[depth],
            subject=catalog.subject_pattern,
            movie=_one_of(movie.name for movie in catalog.movies),
            phase_encoding=_one_of(movie.phase_encoding for movie in catalog.movies),
        )
        is_folder = depth < len(parts) - 1
        end = "" if is_folder else f"(?:{re.escape(GZIPPED)})?"
        return cls("/".join(parts[:depth]), re.compile(regex + end), is_folder)

    def folders(self, catalog: Catalog) -> list[str]:
        """Paths below the source folder that hold what names a subject."""
        return list(dict.fromkeys(_filled(self.before, "", movie) for movie in catalog.movies))

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
    return pattern.format(subject=subject, movie=movie.name, phase_encoding=movie.phase_encoding)


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


def find_runs(catalog: Catalog, source: Path, subjects: Sequence[str] | None = None) -> Found:
    """All runs on disk of the given subjects (default: all found), by subject, then movie.

    Of several products of a run the catalog's first pattern wins; one whose content was not fetched makes
    way for the next.

    Raises
    ------
    UserError
        If a subject that was asked for has no run, or there is no run at all.
    """
    seen = find_subjects(catalog, source)
    if subjects is not None:
        seen = sorted(set(subjects))
        _check_ids(catalog, seen)
    found = Found(seen)
    for subject in seen:
        for movie in catalog.movies:
            _find_run(catalog, source, subject, movie, found)
    if subjects is not None and (missing := set(seen) - set(found.with_runs)):
        raise UserError(f"`source` {source}: has no run of subject {', '.join(sorted(missing))}")
    _refuse_shared_files(found)
    if not found.with_runs:
        expected = "\n  ".join(catalog.bold)
        hint = "" if catalog.subject_pattern == ".+" else f"\nwith subjects like {catalog.subject_pattern}"
        raise UserError(
            f"`source` {source}: has no run of catalog {catalog.name}. It looks for\n  {expected}{hint}"
        )
    return found


def candidates(catalog: Catalog, subject: str, movie: Movie) -> list[str]:
    """Where a run may lie below the source folder, best first."""
    paths = [_filled(pattern, subject, movie) for pattern in catalog.bold]
    return [name for path in paths for name in (path, path + GZIPPED)]


def _find_run(catalog: Catalog, source: Path, subject: str, movie: Movie, found: Found) -> None:
    waiting: list[tuple[Run, UserError]] = []
    for relative in candidates(catalog, subject, movie):
        run = Run.of_file(subject, movie, source / relative, relative)
        try:
            check_content(run.path)
        except FileNotFoundError:
            continue
        except NotFetched as error:
            waiting.append((run, error))
        except UserError as error:
            found.unusable.append((run, error))
            return
        else:
            found.runs.append(run)
            found.passed_over += [
                Rejected(
                    better.relative, "content not fetched; a product that the catalog lists later was taken"
                )
                for better, _ in waiting
            ]
            return
    found.unusable += waiting[:1]


def _check_ids(catalog: Catalog, subjects: Sequence[str]) -> None:
    for subject in subjects:
        if "/" in subject or subject.startswith(".") or not re.fullmatch(catalog.subject_pattern, subject):
            raise UserError(
                f"`subjects` {subject}: is not an id of catalog {catalog.name} (subject_pattern "
                f"{catalog.subject_pattern})"
            )


def _refuse_shared_files(found: Found) -> None:
    """One file is not two runs: a link to another subject's folder would put it into two sets.

    The run that is the file's own place is taken; of several links to elsewhere none.
    """
    by_file: dict[tuple[int, int], list[Run]] = {}
    for run in found.runs:
        status = run.path.stat()
        by_file.setdefault((status.st_dev, status.st_ino), []).append(run)
    for same in (runs for runs in by_file.values() if len(runs) > 1):
        own = [run for run in same if str(run.path.resolve()).endswith(f"/{run.relative}")]
        for run in same:
            if own == [run]:
                continue
            found.runs.remove(run)
            other = own[0] if len(own) == 1 else next(one for one in same if one is not run)
            if len(own) == 1:
                found.passed_over.append(Rejected(run.relative, f"is a link to the run {other.key}"))
            else:
                message = f"{run.path}: is the same file as {other.path}; which run is it? Keep one of them"
                found.unusable.append((run, UserError(message)))


@dataclass(frozen=True)
class Film:
    """The stimulus of one movie on disk; ``relative`` is its path below the movies folder."""

    movie: Movie
    path: Path
    relative: str

    @property
    def key(self) -> str:
        return f"film/{self.movie.name}"

    @property
    def inputs(self) -> dict[str, Path]:
        """Path below the movies folder -> path, of its file."""
        return {self.relative: self.path}


def find_film(movie: Movie, movies: Path) -> Film:
    """The film of a movie below the movies folder.

    Raises
    ------
    UserError
        If there is none, or more than one, or it cannot be read.
    """
    if not os.path.isdir(movies):
        raise UserError(f"`movies` {movies}: is not a folder")
    found = _matching(movies, movie.video.split("/"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(
            f"`movies` {movies}: has several films of {movie.name} ({names}); keep what was shown"
        )
    if not found:
        other = _matching(movies, movie.video.split("/"), re.IGNORECASE)
        hint = f"; {other[0].name} differs in upper and lower case" if other else ""
        raise UserError(f"`movies` {movies}: has no film of {movie.name} (looked for {movie.video}{hint})")
    if not is_utf8(str(found[0])):
        raise UserError(f"`movies` {movies}: the name of the film of {movie.name} is not UTF-8; rename it")
    check_content(found[0])
    return Film(movie, found[0], str(found[0].relative_to(movies)))


def refuse_one_film_twice(films: Sequence[Film]) -> None:
    """Raise a UserError if a file is the film of several movies: each would get the same moments of it."""
    for place, film in enumerate(films):
        for other in films[:place]:
            if film.path.samefile(other.path):
                raise UserError(
                    f"{film.path}: is the film of {other.movie.name} and of {film.movie.name} (video in the "
                    f"catalog, {other.movie.video} and {film.movie.video}): each needs a file of its own"
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
