"""Reconstructions against chance.

Everything is taken from one table for each subject and movie: entry (i, j) compares target j with what is
made from the BOLD of row i when the gallery of target j is looked up. Its diagonal is the result. Chance is
what other rows give for the same target from the same gallery: the BOLD moves round in a circle against the
film, as in `simtrain.retrieval.scores`, by 10 s or more. So what a score gives away for nothing (a mean of
several pictures is blurred, which PSNR likes) is in chance as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simtrain.retrieval.scores import SMALLEST_SHIFT


@dataclass(frozen=True)
class Outcome:
    """One score of one way of reconstruction.

    Attributes
    ----------
    value : (n,) of every tested window; NaN where it is not defined
    chance : (n,) mean of the same at all shifts; NaN where nothing is looked up
    p : (1 + shifts as good or better) / (1 + shifts) of the mean over windows; None as above
    """

    value: np.ndarray
    chance: np.ndarray
    p: float | None


class Tally:
    """Collects tables of one score into an `Outcome`."""

    def __init__(self, shifts: int) -> None:
        self._values: list[np.ndarray] = []
        self._chance: list[np.ndarray] = []
        self._total = np.zeros(1 + shifts)

    def add(self, table: np.ndarray, shifts: np.ndarray) -> None:
        """A table (n, n) of one subject and movie.

        Parameters
        ----------
        shifts : (1 + s, n) the row that takes the place of each, the first of which leaves all in place
        """
        shifted = table[shifts, np.arange(len(table))].astype(np.float64)
        self._values.append(shifted[0])
        self._chance.append(shifted[1:].mean(axis=0))
        defined = ~np.isnan(table).all(axis=0)  # a target is NaN at all shifts or, if all is well, at none
        self._total += shifted[:, defined].sum(axis=1)

    def outcome(self) -> Outcome:
        # Sums in another order differ in the last digits.
        as_good = ~(self._total < self._total[0] - 1e-9 * abs(self._total[0]))  # NaN is no evidence
        return Outcome(np.concatenate(self._values), np.concatenate(self._chance), float(as_good.mean()))


class Reference:
    """Collects scores of what is the same at every shift, and so has no chance of its own."""

    def __init__(self) -> None:
        self._values: list[np.ndarray] = []

    def add(self, values: np.ndarray) -> None:
        """Add the values of the targets (n,) of one subject and movie."""
        self._values.append(values.astype(np.float64))

    def outcome(self) -> Outcome:
        values = np.concatenate(self._values)
        return Outcome(values, np.full(len(values), np.nan), None)


def two_way(table: np.ndarray, group: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, n) two-way identification from a table of scores: 0.5 is chance, whatever the score.

    Entry (i, j) is the share of other targets that are less like the reconstruction (i, j) than target j is;
    equally like ones count half. The others are those of the same group, so that none is in the gallery,
    and begin 10 s or more away. NaN where there are none.

    Parameters
    ----------
    table : (n, n) scores of one movie
    group : (n,) int, the same for targets that share a gallery
    second : (n,) at which each target's clip begins
    """
    shares = np.full(table.shape, np.nan, np.float32)
    for target in range(len(table)):
        away = np.abs(second.astype(np.int64) - int(second[target]))
        others = table[:, (group == group[target]) & (away >= SMALLEST_SHIFT)]
        if others.shape[1]:
            own = table[:, target, None]
            shares[:, target] = (others < own).mean(axis=1) + (others == own).mean(axis=1) / 2
    return shares
