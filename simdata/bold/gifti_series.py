"""Time series in GIFTI (``.func.gii``), a file for each hemisphere and a data array for each volume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simdata.bold.hemisphere_pair import HemispherePair, check_pair
from simdata.common.errors import UserError
from simdata.common.gifti_file import ArrayHead, read_arrays, read_head
from simdata.common.source_file import AGAIN

# What Workbench, FreeSurfer, AFNI and nibabel call the volumes of a time series.
OF_VALUES = ("TIME_SERIES", "NONE", "NORMAL", "SHAPE", "ESTIMATE", "")
SIDES = {"CortexLeft": "L", "CortexRight": "R"}
IN_SECONDS = 50.0  # a TimeStep from here on is in ms, as FreeSurfer writes it


@dataclass(frozen=True)
class GiftiSeries:
    """One hemisphere, as `simdata.bold.hemisphere_pair.HemisphereSeries` describes it."""

    path: Path
    volumes: int
    vertices: int
    tr: float | None
    side: str | None
    stored_kind: str

    @classmethod
    def of(cls, path: Path) -> GiftiSeries:
        """Open a file; nothing behind its first array's header is read."""
        head = read_head(path)
        _check_volume(path, head.first, 1)
        said = head.first.metadata | head.metadata
        return cls(
            path,
            head.arrays,
            head.first.shape[0],
            _tr(said.get("TimeStep", "")),
            SIDES.get(said.get("AnatomicalStructurePrimary", "")),
            head.first.dtype.kind,
        )

    def frames(self) -> Iterator[np.ndarray]:
        """Each volume, (vertices,)."""
        for volume, (head, values) in enumerate(read_arrays(self.path), 1):
            _check_volume(self.path, head, volume)
            if head.shape[0] != self.vertices or volume > self.volumes:
                said = f"{head.shape[0]:,} values of {self.vertices:,} vertices, of {self.volumes:,} arrays"
                raise UserError(f"{self.path}: its GIFTI has in array {volume:,} {said}; {AGAIN}")
            yield values.reshape(-1)


def open_gifti(left: Path, right: Path | None = None) -> HemispherePair:
    """Open a scan of two GIFTI files.

    Raises
    ------
    UserError
        If one is missing, is no time series on a known mesh, or they are not of one scan.
    """
    right = check_pair(left, right)
    return HemispherePair.of(GiftiSeries.of(left), GiftiSeries.of(right))


def _check_volume(path: Path, head: ArrayHead, number: int) -> None:
    if head.intent == "NODE_INDEX":
        raise UserError(
            f"{path}: has values of some vertices alone (NIFTI_INTENT_NODE_INDEX); write all of the mesh "
            "with AFNI's `ConvertDset -o_gii -pad_to_node`"
        )
    if head.intent not in OF_VALUES:
        raise UserError(f"{path}: is no time series: its array {number:,} is a NIFTI_INTENT_{head.intent}")
    if max(head.shape[1:], default=1) > 1:
        shape = " x ".join(f"{length:,}" for length in head.shape)
        raise UserError(f"{path}: has an array of {shape}; write a data array for each volume")


def _tr(text: str) -> float | None:
    """Seconds of a TimeStep, which is in s or in ms; None where it says nothing."""
    try:
        step = float(text)
    except ValueError:
        return None
    return (step if step < IN_SECONDS else step / 1000) if 0 < step < 1e6 else None
