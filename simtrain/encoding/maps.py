"""Maps of all measures, subject by subject, and what they come to over subjects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simtrain.encoding.noise_ceiling import normalised
from simtrain.encoding.shift_null import p_values, q_values

Maps = dict[str, np.ndarray]
NOT_AVERAGED = ("p", "q", "normalised_r")


@dataclass(frozen=True)
class EncodingMaps:
    """How well encoding models predict the BOLD of scenes that they were not fitted in.

    Maps are float32, NaN outside the cortex, in hemispheres that are not used, and where there is nothing to
    say: ``explainable_variance`` of a subject without repeats, ``normalised_r`` where there is too little.

    Attributes
    ----------
    subjects : their ids
    spaces : names of feature spaces
    maps : measure -> (subjects, hemispheres, vertices)
    means : measure -> (hemispheres, vertices) over subjects; p and q are of the mean r
    penalty : (subjects, spaces, hemispheres, vertices), in units of the mean eigenvalue of the space's X'X
    seconds : (subjects, 2) int, of training and of test
    columns : of the design
    notes : what could not be worked out, and why
    """

    subjects: list[str]
    spaces: list[str]
    maps: Maps
    means: Maps
    penalty: np.ndarray
    seconds: np.ndarray
    columns: int
    notes: list[str]


class Collected:
    """Fills the maps of subjects in, part by part.

    Parameters
    ----------
    places : (hemispheres, vertices)
    shifts : of the null, 0 for none
    """

    def __init__(self, subjects: int, places: tuple[int, int], shifts: int) -> None:
        self._shape = (subjects, *places)
        self.maps: Maps = {}
        # Of the sum over subjects: its size does not depend on their number.
        self._null = np.zeros((shifts, *places), np.float32)

    def add(self, subject: int, side: int, vertices: np.ndarray, measures: Maps, null: np.ndarray) -> None:
        """Of one hemisphere: ``measures`` (vertices,) by name, and r of shifts (shifts, vertices)."""
        for name, values in measures.items():
            whole = self.maps.setdefault(name, np.full(self._shape, np.nan, np.float32))
            whole[subject, side, vertices] = values
        self._null[:, side, vertices] += null

    def finished(self) -> tuple[Maps, Maps]:
        """Maps and means, as in `EncodingMaps`."""
        maps = dict(self.maps)
        averaged = {name: values for name, values in maps.items() if name not in NOT_AVERAGED}
        means = {name: _mean(values) for name, values in averaged.items()}
        if "p" in maps:
            maps["q"] = np.stack([q_values(p) for p in maps["p"]]).astype(np.float32)
            p = p_values(len(maps["p"]) * means["r"], self._null)  # sums in place of means
            means["p"] = np.where(np.isnan(means["r"]), np.nan, p).astype(np.float32)
            means["q"] = q_values(means["p"]).astype(np.float32)
        if "normalised_r" in maps:
            means["normalised_r"] = normalised(means["r"], means["explainable_variance"]).astype(np.float32)
        return maps, means


def _mean(values: np.ndarray) -> np.ndarray:
    """(hemispheres, vertices): over the subjects that have the map at all."""
    there = ~np.isnan(values).all(axis=(1, 2))
    return values[there].mean(axis=0)
