"""The JSON beside a BIDS derivative, of what it says about time.

Where slices were brought to one time (``SliceTimingCorrected``), ``StartTime`` is that time, from the
beginning of each volume: fMRIPrep (from 21 on) writes it, by default the middle of the acquisition. A volume
then does not stand for its middle, but for that.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simdata.common.errors import UserError
from simdata.common.faults import in_words

BIDS_BOLD = re.compile(r"(.*_bold)\.[^/]+")
MOST_BYTES = 2**24
SAME_TR = 1e-3  # s
LATEST = 86_400  # s


@dataclass(frozen=True)
class Sidecar:
    """What it says, in s; None where it does not.

    Attributes
    ----------
    tr : RepetitionTime
    start_time : StartTime
    corrected : whether slices were brought to one time, that of ``start_time``
    """

    path: Path
    tr: float | None
    start_time: float | None
    corrected: bool

    @classmethod
    def beside(cls, bold: Path) -> Sidecar | None:
        """That of a file; None if there is none, or if the file's name is not of BIDS.

        Raises
        ------
        UserError
            If it cannot be read, or what it says of time is no number of seconds.
        """
        named = BIDS_BOLD.fullmatch(bold.name)
        path = bold.with_name(f"{named[1]}.json") if named else bold
        if not named or not path.is_file():
            return None
        said = _read(path)
        tr, start_time = (_seconds(path, said, name) for name in ("RepetitionTime", "StartTime"))
        return cls(path, tr, start_time, said.get("SliceTimingCorrected") is True)

    def start(self, tr: float) -> float | None:
        """When the first volume begins, as `simdata.bold.opened_run.ReadsBold` has it, if this says so.

        Raises
        ------
        UserError
            If the file itself has another TR than this says.
        """
        if self.tr is not None and abs(self.tr - tr) > SAME_TR:
            raise UserError(
                f"{self.path}: says a RepetitionTime of {self.tr:g} s, and the file beside it has a TR of "
                f"{tr:g} s; mend the one that is wrong"
            )
        if self.start_time is None or not self.corrected:
            return self.start_time
        return self.start_time - tr / 2  # so that volume k stands for start_time + k TR


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
        said = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(said, dict):
            raise ValueError("it holds no keys")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({in_words(error)}); get it again") from None
    return said


def _seconds(path: Path, said: dict[str, Any], name: str) -> float | None:
    value = said.get(name)
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not -LATEST <= value <= LATEST:  # nor is NaN
        raise UserError(f"{path}: has {name} {value!r:.40}, which is no number of seconds; mend it")
    return float(value)
