"""A data set's own clock: volumes of any TR in place of the store's seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simdata.common.cubic_convolution import Band, cubic_band
from simdata.common.errors import UserError


@dataclass(frozen=True)
class OwnClock:
    """Volumes of ``tr`` s of a scan in which the film began at ``onset``, s.

    Volume k stands for scan time (k + 1/2) tr, as row s of a store stands for film time s + 1/2.

    Raises
    ------
    UserError
        If these are no times.
    """

    tr: float
    onset: float = 0.0

    def __post_init__(self) -> None:
        if not 0.05 <= self.tr <= 100:
            raise UserError(f"`tr` {self.tr:g}: is no TR; give s, such as 1.49")
        if not abs(self.onset) <= 86_400:
            raise UserError(f"`onset` {self.onset:g}: give the s of the scan at which the film began")

    def film_time(self, seconds: int) -> np.ndarray:
        """(volumes,) s of the film in the middle of each volume, up to the end of a film so long."""
        volumes = max(0, int((self.onset + seconds) / self.tr))
        return (np.arange(volumes) + 0.5) * self.tr - self.onset

    def move(self, rows: np.ndarray) -> np.ndarray:
        """(seconds, ..., dim) of unit length -> (volumes, ..., dim); NaN where a row that they take is."""
        inside, band = self._band(len(rows))
        there = np.isfinite(rows).all(axis=tuple(range(1, rows.ndim)))
        found = band.apply(np.where(np.isfinite(rows), rows, 0))
        with np.errstate(invalid="ignore"):
            found /= np.linalg.norm(found, axis=-1, keepdims=True)
        found[band.touches(~there)] = np.nan
        moved = np.full((len(inside), *rows.shape[1:]), np.nan, rows.dtype)
        moved[inside] = found
        return moved

    def move_labels(self, labels: np.ndarray) -> np.ndarray:
        """(seconds,) whole numbers -> (volumes,): what all rows that a volume takes have, else 0."""
        inside, band = self._band(len(labels))
        same = np.zeros((len(band.first),), labels.dtype)
        for label in np.unique(labels):
            same[~band.touches(labels != label)] = label
        moved = np.zeros(len(inside), labels.dtype)
        moved[inside] = same
        return moved

    def _band(self, seconds: int) -> tuple[np.ndarray, Band]:
        return cubic_band(self.film_time(seconds) - 0.5, seconds, width=max(1.0, self.tr))
