"""Tables of confounds, as fMRIPrep writes them: a TSV with a row per volume, and a JSON beside it.

Which columns a set has, and that a first row of "n/a" is taken to be as the second, is as in nilearn's
`load_confounds` (Wang et al. 2024, PLOS Computational Biology 20(3), e1011942).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simdata.common.errors import UserError
from simdata.common.faults import in_words
from simdata.release.values import repeated

MOST_BYTES = 2**28  # of a table: 10,000 volumes of 1,300 columns
LONGEST_LINE = 2**20
MISSING = ("n/a", "")
MOTION = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
DERIVATIVE, SQUARE = "_derivative1", "_power2"
MOTION_SUFFIXES = {
    "motion6": [""],
    "motion12": ["", DERIVATIVE],
    "motion24": ["", DERIVATIVE, SQUARE, DERIVATIVE + SQUARE],
}
OF_TISSUES = {"csf": "csf", "white_matter": "white_matter", "global": "global_signal"}
FD, DVARS, NON_STEADY = "framewise_displacement", "std_dvars", "non_steady_state_outlier"
ENTITY = re.compile(r"(?:^|_)(sub|ses|task|acq|run|dir)-([A-Za-z0-9]+)(?=[_.])")
ADVICE = "give the scan's own desc-confounds_timeseries.tsv of fMRIPrep"


@dataclass(frozen=True)
class ConfoundTable:
    """A table's path and the names of its columns, in order."""

    path: Path
    names: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> ConfoundTable:
        """Read its header.

        Raises
        ------
        UserError
            If it cannot be read, or is not a table.
        """
        try:
            if path.stat().st_size > MOST_BYTES:
                raise UserError(f"{path}: has more than {MOST_BYTES:,} bytes; {ADVICE}")
            with path.open(encoding="utf-8") as file:
                header = file.readline(LONGEST_LINE).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read as TSV ({in_words(error)}); {ADVICE}") from None
        names = tuple(header.split("\t"))
        if twice := repeated(names):
            raise UserError(f"{path}: has the column {twice[0][:40]!r} twice; {ADVICE}")
        return cls(path, names)

    def columns_of(self, sets: Sequence[str]) -> list[str]:
        """The columns of sets such as "motion12", "csf" and "acompcor5".

        Raises
        ------
        UserError
            If the table has not all of them.
        """
        wanted = [name for one in sets for name in self._columns_of(one)]
        if absent := [name for name in wanted if name not in self.names]:
            listed = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
            raise UserError(f"{self.path}: has no column {listed}; {ADVICE}, or take less in `clean`")
        return wanted

    def _columns_of(self, one: str) -> list[str]:
        if one in MOTION_SUFFIXES:
            return [name + suffix for suffix in MOTION_SUFFIXES[one] for name in MOTION]
        if one in OF_TISSUES:
            return [OF_TISSUES[one]]
        count = int(one.removeprefix("acompcor"))
        components = self._combined_components()
        if len(components) < count:
            raise UserError(
                f"{self.path}: has {len(components)} components of aCompCor's combined mask, and `clean` "
                f"asks for {count}"
            )
        return components[:count]

    def _combined_components(self) -> list[str]:
        """Those of white matter and CSF together. Only the JSON tells, in tables of before fMRIPrep 21."""
        names = sorted(name for name in self.names if name.startswith("a_comp_cor_"))
        described = self.path.with_suffix(".json")
        if described.is_file():
            masks = _masks(described)
            return [name for name in names if masks.get(name) == "combined"]
        if any(name.startswith(("c_comp_cor_", "w_comp_cor_")) for name in self.names):
            return names
        raise UserError(
            f"{self.path}: has no {described.name} beside it, which says of which mask the components of "
            "aCompCor are; get it too, or leave acompcor out of `clean`"
        )

    def read(self, names: Sequence[str], volumes: int) -> np.ndarray:
        """(volumes, names) float64; NaN for "n/a".

        Raises
        ------
        UserError
            If a value is no number, or the table has not a row per volume.
        """
        places = [self.names.index(name) for name in names]
        values = np.empty((volumes, len(places)))
        rows = 0
        with self.path.open(encoding="utf-8", errors="replace") as file:
            next(file, None)
            for line in file:
                if rows < volumes:
                    values[rows] = self._numbers(line.rstrip("\r\n").split("\t"), places, rows)
                rows += 1
        if rows != volumes:
            raise UserError(
                f"{self.path}: has {rows:,} rows, and the scan {volumes:,} volumes; {ADVICE}, and leave no "
                "volumes out of either"
            )
        return values

    def _numbers(self, fields: list[str], places: list[int], row: int) -> list[float]:
        if len(fields) != len(self.names):
            raise UserError(
                f"{self.path}: row {row} (from 0) has {len(fields)} fields, its header {len(self.names)}; "
                "is it whole? Get it again"
            )
        numbers = []
        for place in places:
            text = fields[place].strip()
            try:
                number = math.nan if text in MISSING else float(text)
            except ValueError:
                number = math.inf
            if math.isinf(number):
                raise UserError(
                    f"{self.path}: row {row} (from 0) has {text[:40]!r} for {self.names[place]}, which is no "
                    "number; get it again"
                )
            numbers.append(number)
        return numbers

    def read_whole(self, names: Sequence[str], volumes: int) -> np.ndarray:
        """`read`, with a first row of "n/a" taken to be as the second; a UserError for any other "n/a"."""
        values = self.read(names, volumes)
        if volumes > 1:
            values[0] = np.where(np.isnan(values[0]), values[1], values[0])
        if (missing := np.argwhere(np.isnan(values))).size:
            row, column = missing[0]
            raise UserError(f"{self.path}: row {row} (from 0) has no {names[column]}; {ADVICE}")
        return values


def check_same_scan(bold: Path, table: Path) -> None:
    """Raise a UserError if names say that a table is another scan's."""
    of_bold, of_table = dict(ENTITY.findall(bold.name)), dict(ENTITY.findall(table.name))
    for entity in of_bold.keys() & of_table.keys():
        if of_bold[entity] != of_table[entity]:
            raise UserError(
                f"{table}: is the table of {entity}-{of_table[entity]}, and {bold.name} is of "
                f"{entity}-{of_bold[entity]}; {ADVICE}"
            )


def _masks(path: Path) -> dict[str, str]:
    """Component -> the mask that it is of; those that fMRIPrep dropped are left out."""
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        columns = {name: entry for name, entry in described.items() if isinstance(entry, dict)}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({in_words(error)}); get it again") from None
    return {name: str(entry.get("Mask")) for name, entry in columns.items() if entry.get("Retained", True)}
