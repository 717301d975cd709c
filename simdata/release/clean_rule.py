"""``clean``, a key of catalogs: what is taken out of BOLD before it is stored."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from simdata.release.values import Number, Strict, distinct

CONFOUND_SETS = "motion6, motion12, motion24, csf, white_matter, global, acompcorN (N components)"
_SET = re.compile(r"motion6|motion12|motion24|csf|white_matter|global|acompcor[1-9][0-9]{0,2}")


def _confound_set(name: str) -> str:
    if not _SET.fullmatch(name):
        raise ValueError(f"{name[:40]!r} is none of {CONFOUND_SETS}")
    return name


def _one_of_a_kind(names: list[str]) -> list[str]:
    kinds = [re.sub(r"[0-9]+$", "", name) for name in names]
    if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
        raise ValueError(f"several of {', '.join(twice)}: the largest has the others in it; keep that")
    return distinct(names)


class Scrub(Strict):
    """Which volumes are not used: those above a threshold, as fMRIPrep's table has it.

    ``fd`` is for framewise displacement, mm; ``dvars`` for standardised DVARS. What is left between two such
    volumes, or before the first or behind the last, goes too where it is shorter than ``shortest`` volumes.
    """

    fd: Annotated[Number, Field(gt=0)] | None = None
    dvars: Annotated[Number, Field(gt=0)] | None = None
    shortest: Annotated[int, Field(ge=0, le=1000)] = 0

    @model_validator(mode="after")
    def _some_threshold(self) -> Self:
        if self.fd is None and self.dvars is None:
            raise ValueError("give fd (mm) or dvars (standardised), or both")
        return self


class Clean(Strict):
    """One regression for each scan: drifts and confounds, without the volumes that are scrubbed.

    ``polynomials`` up to this order (the mean is kept), cosines below ``high_pass`` (Hz), as SPM and nilearn
    have them, and sets of ``confounds`` of fMRIPrep's table. Without any nothing is done.

    Examples
    --------
    >>> Clean(polynomials=2, confounds=["motion12", "csf", "white_matter"], scrub=Scrub(fd=0.5))
    Clean(polynomials=2, high_pass=None, confounds=['motion12', 'csf', 'white_matter'], scrub=Scrub(...))
    """

    polynomials: Annotated[int, Field(ge=0, le=10)] = 0
    high_pass: Annotated[Number, Field(gt=0, le=0.1)] | None = None
    confounds: Annotated[
        list[Annotated[str, AfterValidator(_confound_set)]], AfterValidator(_one_of_a_kind)
    ] = Field(default=[])
    scrub: Scrub | None = None

    @property
    def needs_table(self) -> bool:
        """Whether a scan must have a table of confounds."""
        return bool(self.confounds) or self.scrub is not None

    @property
    def does_nothing(self) -> bool:
        return not (self.polynomials or self.high_pass or self.needs_table)


NOTHING = Clean()
