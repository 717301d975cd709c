"""Which files of a release are on disk: runs by subject and movie, films by movie."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from simdata.catalog import Catalog, Movie
from simdata.errors import UserError


@dataclass(frozen=True)
class Run:
    """One run on disk; ``relative`` is its path below the source folder."""

    subject: str
    movie: Movie
    path: Path
    relative: str

    @property
    def key(self) -> str:
        return f"{self.subject}/{self.movie.name}"


def find_subjects(catalog: Catalog, source: Path) -> list[str]:
    """Ids of all subjects that have a folder or file where a bold pattern puts one, sorted."""
    if not source.is_dir():
        raise UserError(f"--source {source}: is not a folder")
    subjects = set()
    for pattern in catalog.bold:
        parts = PurePosixPath(pattern).parts
        depth = next(i for i, part in enumerate(parts) if "{subject}" in part)
        # Only the component that names the subject is listed: a release has millions of files.
        before, naming = "/".join(parts[:depth]), parts[depth]
        id_regex = re.compile(_subject_regex(naming, catalog.subject_pattern))
        folders = source.glob(re.sub(r"{\w+}", "*", before)) if before else [source]
        for folder in folders:
            matches = (id_regex.fullmatch(entry.name) for entry in folder.iterdir())
            subjects.update(match["subject"] for match in matches if match)
    return sorted(subjects)


def _subject_regex(component: str, subject_pattern: str) -> str:
    before, *repeats = (re.sub(r"\\{\w+\\}", ".*", re.escape(part)) for part in component.split("{subject}"))
    return f"{before}(?P<subject>{subject_pattern})" + "(?P=subject)".join(repeats)


def find_runs(catalog: Catalog, source: Path, subjects: Sequence[str] | None = None) -> list[Run]:
    """All runs on disk of the given subjects (default: all found), by subject, then movie.

    Of several products of a run the catalog's first pattern wins. Subjects without any run are left out.

    Raises
    ------
    UserError
        If a subject that was asked for has no run, or there is no run at all.
    """
    wanted = find_subjects(catalog, source) if subjects is None else sorted(set(subjects))
    pairs = [(subject, movie) for subject in wanted for movie in catalog.movies]
    runs = [run for pair in pairs if (run := _find_run(catalog, source, *pair))]
    if subjects is not None and (missing := set(wanted) - {run.subject for run in runs}):
        raise UserError(f"--source {source}: has no run of subject {', '.join(sorted(missing))}")
    if not runs:
        expected = "\n  ".join(catalog.bold)
        raise UserError(
            f"--source {source}: has no run of catalog {catalog.name}. It looks for\n  {expected}"
        )
    return runs


def _find_run(catalog: Catalog, source: Path, subject: str, movie: Movie) -> Run | None:
    for pattern in catalog.bold:
        fields = {"subject": subject, "movie": movie.name, "phase_encoding": movie.phase_encoding}
        relative = pattern.format(**fields)
        for candidate in (relative, f"{relative}.gz"):
            if (source / candidate).is_file():
                return Run(subject, movie, source / candidate, candidate)
    return None


@dataclass(frozen=True)
class Film:
    """The stimulus of one movie on disk; ``relative`` is its path below the movies folder."""

    movie: Movie
    path: Path
    relative: str

    @property
    def key(self) -> str:
        return f"film/{self.movie.name}"


def find_film(movie: Movie, movies: Path) -> Film:
    """The film of a movie below the movies folder.

    Raises
    ------
    UserError
        If there is none, or more than one.
    """
    if not movies.is_dir():
        raise UserError(f"--movies {movies}: is not a folder")
    found = sorted(movies.glob(movie.video))
    if len(found) == 1:
        return Film(movie, found[0], str(found[0].relative_to(movies)))
    if not found:
        raise UserError(f"--movies {movies}: has no film of {movie.name} (looked for {movie.video})")
    names = ", ".join(path.name for path in found)
    raise UserError(f"--movies {movies}: has several films of {movie.name} ({names}); keep what was shown")


@dataclass(frozen=True)
class Fingerprint:
    """What tells whether a source is still the file that was converted: cheap to take."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Fingerprint:
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)

    def as_record(self, relative: str, sha256: str) -> dict[str, str | int]:
        """What the store keeps of a source; ``relative`` is its path below the folder that was given."""
        return {"path": relative, "size": self.size, "mtime_ns": self.mtime_ns, "sha256": sha256}
