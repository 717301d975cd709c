"""What the folder of an adapted run says of it: to whom, and with what.

`simtrain.adaptation` makes such a folder: the files of a trained run, an alignment of the subject's BOLD
(``alignment.pt``), unless none was better, and this record (``adapted.json``).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from simdata.common import json_text
from simtrain.training import records

FILE, WEIGHTS = "adapted.json", "alignment.pt"


@dataclass(frozen=True)
class Adaptation:
    """How a run was adapted.

    Attributes
    ----------
    subject : to whom
    seconds : of the subject's BOLD
    film : movie -> seconds of the film that it answered, as [first, last]
    others : training subjects whose mean BOLD it was aligned with
    scenes : movie -> hash of its clips and their sets, of movies in ``film``
    of : name of the run that was adapted, and the hash of its weights
    penalty : of the alignment; None: BOLD stays as it is
    losses : of the model in seconds that were left out in turn, with BOLD as it is (``before``) and aligned
        (``after``); the penalty was chosen by it
    """

    subject: str
    seconds: int
    film: dict[str, list[list[int]]]
    others: list[str]
    scenes: dict[str, str]
    of: dict[str, str]
    penalty: float | None
    losses: dict[str, float]

    @classmethod
    def read(cls, run: Path) -> Adaptation | None:
        """Of the run in a folder; None if it was not adapted.

        Raises
        ------
        UserError
            If the record is damaged.
        """
        file = run / FILE
        if not file.exists():
            return None
        found = records.read(file)
        try:
            return cls(**found)
        except TypeError:
            raise records.damaged(file) from None

    def write(self, run: Path) -> None:
        """Write what `read` reads."""
        json_text.write(run / FILE, asdict(self))

    @property
    def minutes(self) -> float:
        """Of the subject's BOLD."""
        return self.seconds / 60

    def __str__(self) -> str:
        return f"adapted to {self.subject} with {self.minutes:.3g} minutes"
