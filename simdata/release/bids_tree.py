"""A BIDS tree on disk: its subjects, and the folders where their functional files lie.

Only ``sub-*``, ``sub-*/ses-*`` and the ``func`` below either are listed, so that looking ends soon whatever
else the tree holds: a data set has millions of files. Links are followed; as the depth is fixed, none leads
in a circle for ever.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simdata.common.errors import UserError
from simdata.release.bids_names import LABEL, SESSION, SUBJECT, BidsName, parse_name
from simdata.release.sources import Rejected, entries, is_utf8, may_be_folder

FUNCTIONAL = "func"
DERIVATIVES = "derivatives"
SOURCES = (
    "sourcedata",
    "inputs",
)  # where a derivative may keep the data sets that it was made of, or links to them
MOST_ENTRIES = 2_000_000  # of folders that are listed


@dataclass(frozen=True)
class Folder:
    """A folder with functional files of one subject and session.

    Attributes
    ----------
    path, relative : of the folder, and the same below the source
    names : name -> what it says, of the files that are named by BIDS
    others : names of files that are not
    """

    subject: str
    session: str | None
    path: Path
    relative: str
    names: dict[str, BidsName]
    others: tuple[str, ...] = ()

    def is_named_for(self, name: BidsName) -> bool:
        """Whether a file's name says the subject and the session of the folder that it lies in."""
        said = name.entities.get(SUBJECT), name.entities.get(SESSION)
        return said == (self.subject, self.session)


@dataclass
class Tree:
    """The subjects below a folder.

    Attributes
    ----------
    source : what the user gave
    below : the tree's own folder below that, such as ``derivatives/fmriprep``; "" for the source itself
    rejected : folders that cannot be a subject's, or be listed
    """

    source: Path
    below: str = ""
    rejected: list[Rejected] = field(default_factory=list)
    _listed: int = 0

    @property
    def root(self) -> Path:
        return self.source / self.below

    def subjects(self) -> list[str]:
        """All subjects by their labels, "01" for the folder ``sub-01``, sorted."""
        found = []
        for entry in self._list(self.below):
            if not entry.name.startswith(f"{SUBJECT}-") or not may_be_folder(entry):
                continue
            if match := re.fullmatch(f"{SUBJECT}-({LABEL})", entry.name):
                found.append(match[1])
            else:
                path, named = f"{self.below}/{entry.name}".lstrip("/"), f"{SUBJECT}-<letters and digits>"
                self.rejected.append(
                    Rejected(path, f"its name is not that of a subject ({named}); rename it")
                )
        return sorted(found)

    def folder_of(self, subject: str) -> str:
        """The folder of a subject below the source."""
        return f"{self.below}/{SUBJECT}-{subject}".lstrip("/")

    def files(self) -> Iterator[tuple[Folder, str, BidsName]]:
        """Every file of every subject that is named by BIDS."""
        for subject in self.subjects():
            for folder in self.folders(subject):
                for file, name in folder.names.items():
                    yield folder, file, name

    def folders(self, subject: str) -> Iterator[Folder]:
        """The folders of a subject that have files in them, by session."""
        top = self.folder_of(subject)
        inside = self._list(top)
        yield from self._with_functional(subject, None, top, inside)
        for entry in inside:
            match = re.fullmatch(f"{SESSION}-({LABEL})", entry.name)
            if match and may_be_folder(entry):
                session = f"{top}/{entry.name}"
                yield from self._with_functional(subject, match[1], session, self._list(session))

    def _with_functional(
        self, subject: str, session: str | None, top: str, inside: Sequence[os.DirEntry]
    ) -> Iterator[Folder]:
        """A subject's or a session's own folder, which some tools write to, and ``func`` below it."""
        listed = [(top, inside)]
        if any(entry.name == FUNCTIONAL and may_be_folder(entry) for entry in inside):
            functional = f"{top}/{FUNCTIONAL}"
            listed.append((functional, self._list(functional)))
        for relative, found in listed:
            names = {e.name: parse_name(e.name) for e in found if is_utf8(e.name) and "." in e.name}
            parsed = {name: said for name, said in names.items() if said is not None}
            others = tuple(e.name for e in found if e.name not in parsed)
            if parsed or others:
                yield Folder(subject, session, self.source / relative, relative, parsed, others)

    def _list(self, relative: str) -> list[os.DirEntry]:
        """What is in a folder; nothing, and a finding, if it cannot be listed."""
        path = self.source / relative
        try:
            found = entries(path)
        except UserError as error:
            self.rejected.append(Rejected(relative or ".", str(error).removeprefix(f"{path}: ")))
            return []
        self._listed += len(found)
        if self._listed > MOST_ENTRIES:
            raise UserError(
                f"`source` {self.source}: holds more than {MOST_ENTRIES:,} files where runs may lie "
                "(sub-*/[ses-*/]func); give some of its subjects, or a folder with less in it"
            )
        return found


def trees(source: Path) -> list[Tree]:
    """The folder itself, and the derivatives below it: each that has subjects.

    Raises
    ------
    UserError
        If ``source`` is no folder.
    """
    if not os.path.isdir(source):
        raise UserError(f"`source` {source}: is not a folder")
    below = [f"{DERIVATIVES}/{entry.name}" for entry in _folders(source / DERIVATIVES)]
    return [Tree(source, place) for place in ("", *below) if _has_subjects(source / place)]


def raw_roots(tree: Tree) -> list[Path]:
    """Folders that may be the raw data set of a tree, as far as they have subjects; the likeliest first."""
    root = tree.root
    places = [root]
    for below in SOURCES:
        places += [root / below, *(root / below / entry.name for entry in _folders(root / below))]
    above = root.resolve().parent
    places += [above.parent] if above.name == DERIVATIVES else []
    return [place for place in dict.fromkeys(places) if _has_subjects(place)]


def _has_subjects(place: Path) -> bool:
    return any(re.fullmatch(f"{SUBJECT}-{LABEL}", entry.name) for entry in _folders(place))


def _folders(place: Path) -> list[os.DirEntry]:
    """The folders in a folder; none if it cannot be listed."""
    try:
        return [entry for entry in entries(place) if may_be_folder(entry)]
    except UserError:
        return []
