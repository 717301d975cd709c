"""What lies beside a scan in a BIDS tree: its confounds, its events, and the sidecar of its BOLD.

A table is of a scan if none of its entities says otherwise, and the one that says most is the scan's: BIDS
calls that the inheritance principle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from simdata.common.errors import UserError
from simdata.release.bids_names import BidsName, Entities, parse_name, same_value
from simdata.release.bids_tree import Folder
from simdata.release.sources import entries

CONFOUNDS = ("timeseries", "regressors")  # fMRIPrep's suffix from 20.2 on, and the one before
TABLE, SIDECAR = ".tsv", ".json"

Names = Mapping[Path, BidsName]


@dataclass(frozen=True)
class Companions:
    """Tables and sidecars of the scans of a folder.

    Parameters
    ----------
    folder : where the scans lie
    root : the folder of the tree that they are in
    raw : folders of the data sets that the tree may have been made of, the likeliest first
    """

    folder: Folder
    root: Path
    raw: Sequence[Path]

    def confounds(self, scan: Entities) -> Path | None:
        """fMRIPrep's table of confounds."""
        for suffix in CONFOUNDS:
            tables = _of(self._beside, suffix, TABLE)
            described = {
                path: name for path, name in tables.items() if name.entities.get("desc") == "confounds"
            }
            if found := _best(described, scan):
                return found
        return None

    def events(self, scan: Entities) -> Path | None:
        """When what was shown: the derivative's own table, else that of the raw data."""
        return next(self._found("events", TABLE, scan), None)

    def sidecars(self, scan: Entities) -> list[Path]:
        """What describes the scan's BOLD, the derivative's own first: RepetitionTime, StartTime."""
        return list(self._found("bold", SIDECAR, scan))

    def _found(self, suffix: str, extension: str, scan: Entities) -> Iterator[Path]:
        for names in (self._beside, *self._raw_names):
            if found := _best(_of(names, suffix, extension), scan):
                yield found

    @cached_property
    def _beside(self) -> Names:
        names = self.folder.names.items()
        return {self.folder.path / file: name for file, name in names if file.endswith((TABLE, SIDECAR))}

    @cached_property
    def _raw_names(self) -> list[Names]:
        """The files of each raw data set that may be of this folder's scans, down from its top."""
        return [names for root in self.raw if (names := self._names_below(root))]

    def _names_below(self, root: Path) -> Names:
        found: dict[Path, BidsName] = {}
        below = Path(*self.folder.path.relative_to(self.root).parts)
        for place in dict.fromkeys([root, *(root / above for above in [*below.parents, below])]):
            try:
                inside = entries(place)
            except UserError:
                continue
            for entry in inside:
                if entry.name.endswith((TABLE, SIDECAR)) and (name := parse_name(entry.name)):
                    found[place / entry.name] = name
        return found


def _of(names: Names, suffix: str, extension: str) -> dict[Path, BidsName]:
    return {
        p: name for p, name in names.items() if name.suffix == suffix and name.extension.endswith(extension)
    }


def _best(names: Names, scan: Entities) -> Path | None:
    """The file that says most of a scan, and nothing else than it is."""
    fitting = {
        path: len(name.of_scan)
        for path, name in names.items()
        if all(same_value(key, scan.get(key), value) for key, value in name.of_scan.items())
    }
    return max(sorted(fitting), key=fitting.__getitem__) if fitting else None
