"""Scans of a BIDS tree, as a catalog's ``bold: {space: fsLR, den: 91k}`` means them.

A scan is told by the entities of raw data (subject, session, task, run, ...); what was made of it by all
others. ``movie`` is a template that names the film of a scan, ``repeat`` one that tells the times at which
somebody saw it; scans of a film that differ in their ``run`` alone are its parts, in the order of that
number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simdata.common.errors import UserError
from simdata.common.fetched import check_content
from simdata.release.bids_companions import Companions
from simdata.release.bids_names import (
    EXTENSION,
    HEMISPHERE,
    OF_SCANS,
    SESSION,
    SUBJECT,
    SUFFIX,
    BidsName,
    BidsSelection,
    Entities,
    differing,
    fields_of,
    filled,
    number,
    same_value,
)
from simdata.release.bids_raw import refuse_raw
from simdata.release.bids_tree import Folder, Tree, raw_roots, trees
from simdata.release.sources import GZIPPED, Rejected, Scan

IMAGES = (".nii", ".nii.gz", ".gii", ".gii.gz")
SIDES = ("L", "R")
LISTED = 4  # names in a message


@dataclass(frozen=True)
class BidsScan:
    """A scan of a film.

    Attributes
    ----------
    subject : the label, "01" of ``sub-01``
    movie : what the template makes of the scan's entities
    repeat : the entities that the template of repeats names, such as "run-2"; "" where there is no such
        template, or a name lacks them
    entities : those that tell the scan from others
    scan : its files
    """

    subject: str
    movie: str
    repeat: str
    entities: Entities
    scan: Scan

    @property
    def name(self) -> str:
        """The name of the movie in the store: a repeat is one of its own."""
        return "_".join(filter(None, (self.movie, self.repeat)))


@dataclass
class FoundScans:
    """What a tree holds.

    Attributes
    ----------
    subjects : all that were asked for, or seen
    scans : by subject, movie, repeat and run
    unusable : scans that are there and cannot be read, or not told apart, with the message
    rejected : what looks like a scan and is not taken, with the reason
    """

    subjects: list[str]
    scans: list[BidsScan] = field(default_factory=list)
    unusable: list[tuple[BidsScan, UserError]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def find_scans(
    source: Path,
    selection: BidsSelection,
    *,
    movie: str,
    repeat: str | None = None,
    endings: Iterable[str],
    subjects: Sequence[str] | None = None,
) -> FoundScans:
    """All scans of a tree, or of a derivative below it, that a selection takes.

    Parameters
    ----------
    source : a derivative's folder, or a data set's with ``derivatives`` below it
    movie, repeat : templates over entities
    endings : of the names of files that some format of BOLD reads
    subjects : labels, with or without ``sub-``; None: all

    Raises
    ------
    UserError
        If the tree has none, or more than one derivative has; if it is raw; if a subject that was asked for
        has none.
    """
    wanted = None if subjects is None else sorted({one.removeprefix(f"{SUBJECT}-") for one in subjects})
    candidates = trees(source)
    searches = []
    for tree in candidates:
        search = _Search(tree, selection, movie, repeat, tuple(endings))
        search.look(wanted)
        if search.taken:
            searches.append(search)
            if not tree.below:
                break  # the folder that was given goes before derivatives below it
    if len(searches) > 1:
        names = ", ".join(search.tree.below for search in searches[:LISTED])
        raise UserError(
            f"`source` {source}: {names} have files with {selection}; give the folder of one of them"
        )
    if not searches:
        refuse_raw(source, candidates)
        if wanted is not None and candidates:
            raise UserError(f"`source` {source}: has no run of subject {', '.join(wanted)} with {selection}")
        raise UserError(_nothing_found(source, selection, candidates))
    found = searches[0].found
    if wanted is not None and (missing := set(wanted) - searches[0].taken):
        raise UserError(f"`source` {source}: has no run of subject {', '.join(sorted(missing))}")
    return found


def _nothing_found(source: Path, selection: BidsSelection, candidates: Sequence[Tree]) -> str:
    if not candidates:
        return f"`source` {source}: has no folders sub-*, nor derivatives/*/sub-*: is it a BIDS tree?"
    images = [n for tree in candidates for _, _, n in tree.files() if n.extension.endswith(IMAGES)]
    names = [name for name in images if (name.suffix or None) in selection.wanted[SUFFIX]] or images
    there = Counter(name.product for name in names).most_common(8)
    instead = "; it has " + ", ".join(f"{what} ({count})" for what, count in there) if there else ""
    if names and all(name.is_volume for name in names):
        instead += ". Volumes hold no surface: fMRIPrep makes one with --cifti-output 91k"
    return f"`source` {source}: has no file with {selection} in sub-*/[ses-*/]func{instead}"


@dataclass
class _Search:
    """The search of one tree."""

    tree: Tree
    selection: BidsSelection
    movie: str
    repeat: str | None
    endings: tuple[str, ...]

    def __post_init__(self) -> None:
        self.found = FoundScans([])
        self._lower = tuple(ending.lower() for ending in self.endings)
        self._raw = raw_roots(self.tree)

    @property
    def taken(self) -> set[str]:
        """Subjects with a scan, be it unusable."""
        return {one.subject for one in (*self.found.scans, *(scan for scan, _ in self.found.unusable))}

    def look(self, subjects: Sequence[str] | None) -> None:
        self.found.subjects = self.tree.subjects() if subjects is None else list(subjects)
        for subject in self.found.subjects:
            scans, unusable = list[BidsScan](), len(self.found.unusable)
            for folder in self.tree.folders(subject):
                scans += self._scans_of(folder)
            self._settle(scans)
            if not scans and len(self.found.unusable) == unusable:
                self._say_why_none(subject)
        self.found.rejected += self.tree.rejected

    def _scans_of(self, folder: Folder) -> list[BidsScan]:
        """The scans of a folder that are to be told from those of other folders; others are noted."""
        companions = Companions(folder, self.tree.root, self._raw)
        by_scan: dict[tuple[tuple[str, str], ...], dict[str, BidsName]] = {}
        for file, name in folder.names.items():
            if folder.is_named_for(name):
                by_scan.setdefault(tuple(name.of_scan.items()), {})[file] = name
            elif self._is_taken(file, name):
                self._reject(folder, file, "its name says another subject or session than its folder")
        for file in folder.others:
            if file.lower().endswith(tuple(end for end in self._lower if end.count(".") > 1)):
                self._reject(folder, file, "is not named by BIDS")
        scans = []
        for entities, files in by_scan.items():
            taken = {file: name for file, name in files.items() if self._is_taken(file, name)}
            if not taken:
                self._say_what_there_is(folder, files)
            elif scan := self._scan(folder, dict(entities), _plain(taken), companions):
                scans.append(scan)
        return scans

    def _is_taken(self, file: str, name: BidsName) -> bool:
        readable = file.lower().endswith(self._lower) and not name.is_volume
        return readable and self.selection.takes(name)

    def _scan(
        self, folder: Folder, entities: Entities, taken: Mapping[str, BidsName], companions: Companions
    ) -> BidsScan | None:
        movie = filled(self.movie, entities)
        if movie is None:
            lacking = [name for name in fields_of(self.movie) if name not in entities]
            for file in taken:
                reason = f"its name has no {', '.join(lacking)}, which movie {self.movie} is made of"
                self._reject(folder, file, reason)
            return None
        repeat = "_".join(f"{key}-{entities[key]}" for key in fields_of(self.repeat or "") if key in entities)
        files = [file for _, file in sorted((n.entities.get(HEMISPHERE, ""), f) for f, n in taken.items())]
        scan = Scan(
            tuple(folder.path / file for file in files),
            tuple(f"{folder.relative}/{file}" for file in files),
            companions.confounds(entities),
            companions.events(entities),
        )
        found = BidsScan(folder.subject, movie, repeat, entities, scan)
        fault = _fault_of_files(folder, taken) or _fault_of_content(scan)
        if fault:
            self.found.unusable.append((found, fault))
            return None
        return found

    def _settle(self, scans: Sequence[BidsScan]) -> None:
        """Put the scans of a subject in order; those that nothing tells apart are unusable."""
        cells: dict[tuple[str, str], list[BidsScan]] = {}
        for one in scans:
            cells.setdefault((one.movie, one.repeat), []).append(one)
        for cell in sorted(cells):
            ordered = sorted(cells[cell], key=lambda one: number(one.entities.get("run")))
            runs = [number(one.entities.get("run")) for one in ordered]
            if len(set(runs)) == len(runs):
                self.found.scans += ordered
            else:
                twice = [one for one, run in zip(ordered, runs, strict=True) if runs.count(run) > 1]
                error = UserError(_two_scans(twice))
                self.found.unusable += [(one, error) for one in ordered]

    def _say_what_there_is(self, folder: Folder, files: Mapping[str, BidsName]) -> None:
        """Note a scan of which there are other products than the one that is meant."""
        suffixes = self.selection.wanted[SUFFIX]
        others = {
            file: name
            for file, name in files.items()
            if (name.suffix or None) in suffixes
            and name.extension.endswith(IMAGES)
            and self.selection.of_scan_taken(name)
        }
        if others and not self._is_raw(others):
            there = ", ".join(sorted({name.product for name in others.values()})[:LISTED])
            self._reject(
                folder, min(others), f"has no file with {self.selection} beside it (there is {there})"
            )

    def _is_raw(self, files: Mapping[str, BidsName]) -> bool:
        """Whether files are of a raw data set, of which nothing is wanted here."""
        return all(set(name.entities) <= set(OF_SCANS) for name in files.values())

    def _say_why_none(self, subject: str) -> None:
        place = self.tree.folder_of(subject)
        if any(one.path.startswith((f"{place}/", place)) for one in self.found.rejected):
            return
        folder = self.tree.source / place
        if folder.is_symlink() and not folder.exists():
            reason = "is a link to nowhere; mend it"
        elif folder.is_dir() and any(folder.iterdir()):
            reason = f"holds no file with {self.selection}"
        else:
            reason = "is an empty folder"
            if any((place / ".datalad").exists() for place in (self.tree.source, self.tree.root)):
                reason += ": a DataLad data set that is not installed? Run `datalad get -n` with it"
        self.found.rejected.append(Rejected(place, reason))

    def _reject(self, folder: Folder, file: str, reason: str) -> None:
        self.found.rejected.append(Rejected(f"{folder.relative}/{file}", reason))


def _plain(taken: Mapping[str, BidsName]) -> dict[str, BidsName]:
    """Files without those that are also there uncompressed."""
    return {f: n for f, n in taken.items() if not (f.endswith(GZIPPED) and f.removesuffix(GZIPPED) in taken)}


def _fault_of_files(folder: Folder, taken: Mapping[str, BidsName]) -> UserError | None:
    """Why the files of a scan are neither one nor a pair of hemispheres."""
    sides = [name.entities.get(HEMISPHERE) for name in taken.values()]
    first = folder.path / min(taken)
    apart = {key: values for key, values in differing(taken.values()).items() if key != HEMISPHERE}
    if apart:
        return UserError(_two_products(folder, taken, apart))
    if sides == [None] or sorted(map(str, sides)) == list(SIDES):
        return None
    if len(sides) == 1 and sides[0] in SIDES:
        other = next(side for side in SIDES if side != sides[0])
        return UserError(f"{first}: the file of the other hemisphere (hemi-{other}) is not beside it; get it")
    return UserError(f"{first}: is of hemi-{sides[0]}; hemi-L and hemi-R are known")


def _fault_of_content(scan: Scan) -> UserError | None:
    for path in scan.files:
        try:
            check_content(path)
        except FileNotFoundError:
            return UserError(f"{path}: is no longer there")
        except UserError as error:
            return error
    return None


def _two_products(
    folder: Folder, taken: Mapping[str, BidsName], apart: Mapping[str, list[str | None]]
) -> str:
    """Several files of one scan fit: what to add to ``bold``."""
    key = next((one for one in apart if one != EXTENSION), EXTENSION)
    values = " or ".join(f"{key}: {value or 'null'}" for value in apart[key][:LISTED])
    return (
        f"{folder.path}: {len(taken)} files of one scan fit the catalog's bold ({_listed(taken)}); add "
        f"{values} to it"
    )


def _two_scans(scans: Sequence[BidsScan]) -> str:
    """Several scans are the same part of a film: what to add."""
    first, relative = scans[0], _listed(one.scan.relative[0] for one in scans)
    keys = [
        key
        for key in OF_SCANS
        if any(not same_value(key, first.entities.get(key), one.entities.get(key)) for one in scans)
    ]
    said = f"{len(scans)} scans of subject {first.subject} are of {first.movie} ({relative})"
    if not keys:
        return f"{said}, and nothing in their names tells them apart; keep one of them"
    key = keys[0]
    values = " or ".join(
        f"{key}: {value or 'null'}" for value in dict.fromkeys(one.entities.get(key) for one in scans)
    )
    advice = f"add {values} to bold to take one"
    if key == SESSION or all(key in one.entities for one in scans):
        advice += (
            f', repeat: "{{{key}}}" to have each as a time at which the film was seen, or {{{key}}} to movie'
        )
    return f"{said}; {advice}"


def _listed(names: Iterable[str]) -> str:
    names = sorted(names)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
