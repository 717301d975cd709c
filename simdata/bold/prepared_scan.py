"""A scan of a cell before its values are read: opened, on the film's clock, and what is taken out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simdata.bold.cleaning import Projection
from simdata.bold.clock import Timing
from simdata.bold.conversion_kernel import Passage
from simdata.bold.formats import open_run
from simdata.bold.opened_run import CheckedRun
from simdata.bold.run_values import ranges
from simdata.common.errors import UserError
from simdata.release.catalog import Movie
from simdata.release.clean_rule import Clean
from simdata.release.sources import Part, Run

SAME_TR = 1e-3  # s
TRS = 0.05, 100.0  # s, the shortest and the longest that may be meant
FEWEST_ROWS = 2  # that have a standard deviation


@dataclass(frozen=True)
class PreparedScan:
    """One scan of a cell.

    Attributes
    ----------
    series : the opened file
    timing : the rows of the cell that it gives
    projection : what is taken out of its series
    codes : (rows,) int16 of the store's ``run``: the scan's number in the cell, from 1; negative if scrubbed
    passage : from its volumes to its rows; None where each volume is a row, as it is
    """

    series: CheckedRun
    timing: Timing
    projection: Projection
    codes: np.ndarray

    @classmethod
    def of(
        cls, part: Part, number: int, movie: Movie, tr: float | None, clean: Clean, mesh: str | None
    ) -> PreparedScan:
        """The scan of a cell of a movie that has this number; see `prepare`."""
        series = open_run(*part.scan.files, tr=tr, mesh=mesh, inside=part.scan.inside)
        if not TRS[0] <= series.tr <= TRS[1]:
            raise UserError(
                f"{series.path}: has a TR of {series.tr:g} s, which is none: does it count in other units? "
                "Mend its header"
            )
        if tr is not None and abs(series.tr - tr) > SAME_TR:
            raise UserError(f"{series.path}: has a TR of {series.tr:g} s, the catalog says {tr:g} s")
        if movie.volumes is not None and series.volumes != movie.volumes:
            raise UserError(f"{series.path}: has {series.volumes} volumes, the catalog says {movie.volumes}")
        timing = Timing.of(series.volumes, series.tr, series.start, part.plays, movie.length)
        projection = Projection.of(clean, series, part.scan.confounds)
        codes = timing.codes(number, projection.scrubbed)
        if np.count_nonzero(codes > 0) < FEWEST_ROWS:
            shown = ", ".join(f"{play.onset:g}" for play in part.plays[:5])
            raise UserError(
                f"{series.path}: takes {series.volumes * series.tr:g} s, and has no two seconds of film that "
                f"can be used; the film began at {shown} s of it by the catalog's plays"
            )
        return cls(series, timing, projection, codes)

    @property
    def passage(self) -> Passage | None:
        timing, fit = self.timing, self.projection.fit
        as_it_is = timing.volumes_are_rows and len(timing.rows) == self.series.volumes
        if as_it_is and not len(fit) and (self.codes > 0).all():
            return None
        return Passage(
            fit, self.projection.basis, timing.band.first, timing.band.weights, counted=self.codes > 0
        )

    def record(self) -> dict[str, Any]:
        """What was done to it, for provenance."""
        series, rows = self.series, self.timing.rows
        return {
            "tr": series.tr,
            "start": series.start,
            "volumes": series.volumes,
            "seconds": ranges(np.unique(rows)),
            "clean": self.projection.record,
        }


def prepare(run: Run, tr: float | None, clean: Clean, mesh: str | None = None) -> list[PreparedScan]:
    """The scans of a cell.

    Raises
    ------
    UserError
        If a header is not what it must be (`simdata.bold.formats.open_run`), has another TR or length than
        the catalog says, or `clean` cannot be done; or if a second of the film was shown twice.
    """
    parts = enumerate(run.parts, 1)
    scans = [PreparedScan.of(part, number, run.movie, tr, clean, mesh) for number, part in parts]
    times = np.bincount(np.concatenate([scan.timing.rows for scan in scans]))
    if (twice := np.flatnonzero(times > 1)).size:
        files = ", ".join(dict.fromkeys(str(scan.series.path) for scan in scans))
        raise UserError(
            f"{files}: seconds {ranges(twice)} of {run.movie.name} were shown more than once, by the "
            "catalog's plays: give how long each was shown, or make what is a repeat a movie of its own"
        )
    return scans


def row_codes(scans: Sequence[PreparedScan]) -> np.ndarray:
    """(seconds,) int16, ``run`` of a cell, up to its last row."""
    codes = np.zeros(1 + max(int(scan.timing.rows.max()) for scan in scans), np.int16)
    for scan in scans:
        codes[scan.timing.rows] = scan.codes
    return codes
