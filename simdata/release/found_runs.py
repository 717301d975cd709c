"""The runs of a release: its scans, and what the table of plays says was shown in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simdata.common.errors import UserError
from simdata.common.hdf5 import INSIDE
from simdata.release.bids_scans import named_scans
from simdata.release.catalog import Catalog
from simdata.release.pattern_scans import find_scans, find_subjects
from simdata.release.plays import PlayTable, play_table
from simdata.release.sources import Found, NamedScan, Part, Rejected, Run


@dataclass(frozen=True)
class Release:
    """A source as a catalog sees it.

    Attributes
    ----------
    found : runs to convert, and what else there is
    plays : what was shown in its scans
    """

    found: Found
    plays: PlayTable


def find_runs(
    catalog: Catalog, source: Path, subjects: Sequence[str] | None = None, endings: Sequence[str] = ()
) -> Found:
    """All runs on disk of the given subjects (default: all found), by subject, then movie.

    ``endings`` are those of names that some format of BOLD reads; a BIDS tree is searched for them.

    Raises
    ------
    UserError
        If a subject that was asked for has no run, or there is no run at all; if the catalog's table of plays
        cannot be used.
    """
    return look_at(catalog, source, subjects, endings).found


def look_at(
    catalog: Catalog, source: Path, subjects: Sequence[str] | None = None, endings: Sequence[str] = ()
) -> Release:
    """The runs as `find_runs` has them, and the plays that they come from."""
    if catalog.is_bids:
        by_entities = named_scans(catalog, source, endings, subjects)
        found, scans = Found(by_entities.subjects, passed_over=by_entities.rejected), by_entities.scans
    else:
        found, scans = _by_patterns(catalog, source, subjects)
    plays = play_table(catalog, [scan for scan, _ in scans], source)
    _settle(catalog, plays, {scan: error for scan, error in scans if error}, found)
    if subjects is not None and (missing := set(found.subjects) - set(found.with_runs)):
        raise UserError(f"`source` {source}: has no run of subject {', '.join(sorted(missing))}")
    _refuse_shared_files(found)
    if not found.with_runs and scans:
        why = "; ".join(dict.fromkeys(f"{one.path}: {one.reason}" for one in plays.without[:3]))
        raise UserError(f"`source` {source}: no scan shows a movie of catalog {catalog.name}: {why}")
    if not found.with_runs and catalog.is_bids:
        why = "; ".join(f"{one.path}: {one.reason}" for one in found.passed_over[:3])
        raise UserError(f"`source` {source}: has no run of a movie of catalog {catalog.name}: {why}")
    if not found.with_runs:
        expected = "\n  ".join(catalog.patterns)
        hint = "" if catalog.subject_pattern == ".+" else f"\nwith subjects like {catalog.subject_pattern}"
        raise UserError(
            f"`source` {source}: has no run of catalog {catalog.name}. It looks for\n  {expected}{hint}"
        )
    return Release(found, plays)


def _by_patterns(
    catalog: Catalog, source: Path, subjects: Sequence[str] | None
) -> tuple[Found, list[tuple[NamedScan, UserError | None]]]:
    """Subjects, and the scans that lie where patterns put them."""
    seen = find_subjects(catalog, source)
    if subjects is not None:
        seen = sorted(set(subjects))
        _check_ids(catalog, seen)
    found, scans = Found(seen), list[tuple[NamedScan, UserError | None]]()
    for subject in seen:
        of_subject = find_scans(catalog, source, subject)
        scans += of_subject.scans
        found.passed_over += of_subject.passed_over
    return found, scans


def _settle(catalog: Catalog, plays: PlayTable, broken: dict[NamedScan, UserError], found: Found) -> None:
    """Put the runs of a table where they belong: to convert, or unusable."""
    by_path = {scan.path: error for scan, error in broken.items()}
    order = {movie.name: place for place, movie in enumerate(catalog.movies)}
    settled: list[tuple[Run, UserError | None]] = []
    untold = {(scan.subject, scan.movie) for scan, _ in plays.faults}
    for run, fault in plays.runs():
        if (run.subject, run.movie.name) in untold:  # a part of it alone is not what was seen
            continue
        first = (by_path.get(path) for part in run.parts for path in part.scan.files)
        settled.append((run, next(filter(None, first), fault)))
    for scan, error in plays.faults:
        movie = next((one for one in catalog.movies if one.name == scan.movie), catalog.movies[0])
        settled.append((Run(scan.subject, movie, (Part(scan.scan),)), by_path.get(scan.path, error)))
    settled.sort(key=lambda one: (one[0].subject, order[one[0].movie.name]))
    found.runs += [run for run, fault in settled if fault is None]
    found.unusable += [(run, fault) for run, fault in settled if fault is not None]
    found.passed_over += plays.without


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
    by_file: dict[tuple[int, int, str], dict[str, list[Run]]] = {}
    for run in found.runs:
        for part in run.parts:
            for path, relative in zip(part.scan.files, part.scan.relative, strict=True):
                status = path.stat()
                named = by_file.setdefault((status.st_dev, status.st_ino, part.scan.inside), {})
                named.setdefault(relative, []).append(run)
    for named in (named for named in by_file.values() if len(named) > 1):
        own = [name for name, runs in named.items() if _is_own_place(runs[0], name)]
        for name, runs in named.items():
            if own == [name]:
                continue
            other = own[0] if len(own) == 1 else next(one for one in named if one != name)
            for run in runs:
                if run in found.runs:
                    found.runs.remove(run)
                    _put_aside(run, name, named[other][0], other, len(own) == 1, found)


def _is_own_place(run: Run, relative: str) -> bool:
    return str(run.inputs[relative].resolve()).endswith(f"/{relative.partition(INSIDE)[0]}")


def _put_aside(run: Run, name: str, other: Run, its_name: str, is_link: bool, found: Found) -> None:
    if is_link:
        found.passed_over.append(Rejected(name, f"is a link to the run {other.key}"))
    else:
        place, there = run.inputs[name], other.inputs[its_name]
        message = f"{place}: is the same file as {there}; which run is it? Keep one of them"
        found.unusable.append((run, UserError(message)))
