"""Cleaning one scan: drifts and confounds are projected out of every series, before anything else in time.

All of it is one linear regression, so that nothing that was taken out comes back with a later step (Lindquist
et al. 2019, Human Brain Mapping 40(8)). Its columns are made orthonormal; a series loses its products with
them and keeps its mean. The values are those of `nilearn.signal.clean` with ``filter="cosine"`` and
``detrend=False``, polynomials given as confounds.

Scrubbed volumes are left out of the regression, and of all statistics: cosines and polynomials are made over
the whole scan, then rows of scrubbed volumes are taken out of series and columns alike, which is nilearn's
order. Other than there, scrubbed volumes then lose what the regression says of them too, since rows beside
them are interpolated from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import qr

from simdata.bold.confounds import DVARS, FD, NON_STEADY, ConfoundTable, check_same_scan
from simdata.bold.opened_run import CheckedRun
from simdata.bold.run_values import ranges
from simdata.common.errors import UserError
from simdata.release.clean_rule import Clean, Scrub

SAME = 1e-7  # of a column's length: what is left of one that others explain
FEWEST_LEFT = 10  # volumes more than columns


@dataclass(frozen=True)
class Projection:
    """What is taken out of the series of a scan.

    Attributes
    ----------
    fit : (rank, volumes) float32; its products with a series say how much of each column is in it. Rows are
        orthonormal, sum to 0, and are 0 in scrubbed volumes.
    basis : (rank, volumes) float32, the columns; `fit`, but for scrubbed volumes
    scrubbed : (volumes,) bool
    record : what was done, for provenance: ``columns``, ``rank``, ``scrubbed`` volumes, and thresholds
    """

    fit: np.ndarray
    basis: np.ndarray
    scrubbed: np.ndarray
    record: dict[str, Any]

    @classmethod
    def of(cls, clean: Clean, run: CheckedRun, table: Path | None) -> Projection:
        """Of an opened scan, and the path of its table of confounds.

        Raises
        ------
        UserError
            If there is no table and ``clean`` needs one, it is another scan's, or lacks what is needed; or if
            too little would be left.
        """
        names, columns = _drifts(clean, run.volumes, run.tr)
        scrubbed = np.zeros(run.volumes, bool)
        if clean.needs_table:
            confounds = _table(run.path, table)
            wanted = confounds.columns_of(clean.confounds)
            columns = np.hstack([columns, confounds.read_whole(wanted, run.volumes)])
            names += wanted
            if clean.scrub is not None:
                scrubbed = scrubbed_volumes(confounds, clean.scrub, run.volumes)
        _check_something_left(run.path, len(names), scrubbed)
        fit, basis = orthonormal(columns, ~scrubbed)
        record = {
            "columns": names,
            "rank": len(fit),
            "scrubbed": np.flatnonzero(scrubbed).tolist(),
            "thresholds": clean.scrub.model_dump(exclude_none=True) if clean.scrub else {},
        }
        return cls(fit.astype(np.float32), basis.astype(np.float32), scrubbed, record)


def orthonormal(columns: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A basis of columns and what measures it, both (rank, volumes) float64; see `Projection`.

    Parameters
    ----------
    columns : (volumes, n); the constant is taken out of each
    kept : (volumes,) bool, the volumes that are looked at
    """
    centred = columns - columns[kept].mean(axis=0)
    size = np.linalg.norm(centred[kept], axis=0)
    varies = size > SAME * np.linalg.norm(columns[kept], axis=0)
    centred = centred[:, varies] / size[varies]
    if not centred.size:
        return np.empty((0, len(columns))), np.empty((0, len(columns)))
    _, triangle, order = qr(centred[kept], mode="economic", pivoting=True)
    rank = int((np.abs(np.diag(triangle)) > SAME).sum())
    basis = np.linalg.solve(triangle[:rank, :rank].T, centred[:, order[:rank]].T)
    return np.where(kept, basis, 0), basis


def _drifts(clean: Clean, volumes: int, tr: float) -> tuple[list[str], np.ndarray]:
    """Names, and (volumes, n), of polynomials and cosines."""
    middle = (np.arange(volumes) + 0.5) / volumes
    orders = range(1, clean.polynomials + 1)
    columns = [np.polynomial.Legendre.basis(order)(2 * middle - 1) for order in orders]
    cosines = range(1, 1 + _cosines(clean.high_pass, volumes, tr))
    columns += [np.cos(np.pi * order * middle) for order in cosines]
    names = [f"polynomial{order}" for order in orders] + [f"cosine{order}" for order in cosines]
    return names, np.array(columns).reshape(len(names), volumes).T


def _cosines(high_pass: float | None, volumes: int, tr: float) -> int:
    """How many go below a frequency (Hz): the k-th goes through half of k periods in a scan."""
    return min(volumes - 1, int(np.floor(2 * volumes * tr * (high_pass or 0))))


def scrubbed_volumes(table: ConfoundTable, scrub: Scrub, volumes: int) -> np.ndarray:
    """(volumes,) bool: above a threshold, not in the steady state yet, or in too short a stretch between."""
    limits = {name: limit for name, limit in ((FD, scrub.fd), (DVARS, scrub.dvars)) if limit is not None}
    if absent := [name for name in limits if name not in table.names]:
        raise UserError(f"{table.path}: has no column {absent[0]}, by which `clean` would scrub")
    measured = table.read(list(limits), volumes)  # the first volume has no value: it is not above
    scrubbed = np.any(measured > np.array(list(limits.values())), axis=1)
    if scrubbed.any():
        edges = np.flatnonzero(np.diff(np.concatenate([[True], scrubbed, [True]])))
        for first, stop in zip(edges[::2], edges[1::2], strict=True):  # stretches that are left
            scrubbed[first:stop] |= stop - first < scrub.shortest
    non_steady = [name for name in table.names if name.startswith(NON_STEADY)]
    return scrubbed | np.any(table.read(non_steady, volumes) > 0, axis=1)


def _table(bold: Path, table: Path | None) -> ConfoundTable:
    if table is None:
        raise UserError(
            f"{bold}: has no table of confounds beside it, and the catalog's `clean` needs one: get its "
            "desc-confounds_timeseries.tsv too, or take confounds and scrub out of `clean`"
        )
    check_same_scan(bold, table)
    return ConfoundTable.open(table)


def _check_something_left(path: Path, columns: int, scrubbed: np.ndarray) -> None:
    left = len(scrubbed) - int(scrubbed.sum())
    if left - columns < FEWEST_LEFT and (columns or scrubbed.any()):
        lost = f" ({ranges(np.flatnonzero(scrubbed))} are scrubbed)" if scrubbed.any() else ""
        raise UserError(
            f"{path}: {left} of {len(scrubbed)} volumes are left{lost}, and `clean` takes {columns} columns "
            "out of them: nothing to speak of would remain. Take fewer, scrub less, or leave the scan out"
        )
