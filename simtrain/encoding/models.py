"""Encoding models: ridge regression from the film's embeddings at several delays to the BOLD of every vertex.

A model for each subject, fitted in training scenes and tested in others (Naselaris et al., NeuroImage 2011,
doi:10.1016/j.neuroimage.2010.07.073; delays as in Nishimoto et al., Current Biology 2011). The penalties of
each vertex are those whose squared error is least in cross-validation over clips of the film, within the
training scenes. Subjects with the same runs share the design.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from simtrain.config.resolved import ResolvedConfig
from simtrain.data.dataset import Dataset
from simtrain.encoding import mixes
from simtrain.encoding.accuracy import correlation, explained
from simtrain.encoding.banded_ridge import BandedRidge, Fitted
from simtrain.encoding.bold import read_rows
from simtrain.encoding.design import Design, Designs
from simtrain.encoding.maps import Collected, EncodingMaps, Maps
from simtrain.encoding.noise_ceiling import explainable_variance, normalised
from simtrain.encoding.partition import parts
from simtrain.encoding.shift_null import SHIFTS, p_values, shifted_correlation

RIDGES = ("plain", "banded")
MIXES = 20


@dataclass(frozen=True)
class EncodingSettings:
    """What is fitted, and where it is tested.

    Attributes
    ----------
    delays : first and last, s after the lag, at which BOLD follows a clip's beginning
    ridge : ``plain``, with one penalty for all feature spaces, or ``banded``, with one for each
    mixes : of spaces that banded ridge tries
    split : set of scenes to test in, ``test`` or ``val``
    shifts : at random, that p is worked out by; 0: no p
    partition : whether to fit models without each of the feature spaces, too
    """

    delays: tuple[int, int]
    ridge: str = "plain"
    mixes: int = MIXES
    split: str = "test"
    shifts: int = SHIFTS
    partition: bool = False


class EncodingModels:
    """Fits and tests the models of a store's subjects.

    Parameters
    ----------
    config : its embeddings, lag and hemispheres

    Raises
    ------
    UserError
        If there are no seconds for training or none for test.
    """

    def __init__(
        self, dataset: Dataset, config: ResolvedConfig, settings: EncodingSettings, device: torch.device
    ) -> None:
        self._dataset, self._settings = dataset, settings
        self._lag, self._sides = config.data.lag, config.data.sides
        self._designs = Designs(dataset, config, settings.delays, settings.split, settings.shifts, device)

    def of(
        self, subjects: Sequence[int], progress: Callable[[str, int, int], None] = lambda *_: None
    ) -> EncodingMaps:
        """Fit and test the models of subjects, by their positions; those without all runs have fewer rows.

        Raises
        ------
        UserError
            If a subject's runs have training scenes of less than two clips, or no scenes to test in.
        """
        for subject in subjects:
            self._designs.rows(subject)  # if one has too few, say so before the work begins
        shifts, spaces = next(iter(self._designs.shifts.values()), np.empty(0)), self._designs.spaces
        places = self._dataset.cortex.shape
        collected = Collected(len(subjects), places, len(shifts))
        penalty = np.full((len(subjects), len(spaces), *places), np.nan, np.float32)
        seconds, notes = np.empty((len(subjects), 2), int), list(self._designs.notes)
        names = [self._dataset.subjects[subject] for subject in subjects]
        for row, subject in enumerate(subjects):
            progress(names[row], row + 1, len(subjects))
            design = self._designs.of(subject)
            seconds[row] = len(design.train), len(design.test)
            if not len(design.repeated) and not any("no noise ceiling:" in note for note in notes):
                notes.append(f"no noise ceiling of {names[row]}: fewer than two of its runs repeat a clip")
            for side in self._sides:
                vertices = np.flatnonzero(self._dataset.cortex[side])
                fitted, measures, null = self._measured(design, subject, side)
                collected.add(row, side, vertices, measures, null)
                penalty[row, :, side, vertices] = fitted.penalty
        return EncodingMaps(names, spaces, *collected.finished(), penalty, seconds, design.columns, notes)

    def _measured(self, design: Design, subject: int, side: int) -> tuple[Fitted, Maps, np.ndarray]:
        """What is fitted in a hemisphere, its measures, and r of all shifts (shifts, vertices)."""
        rows = (design.train, design.test, design.repeated.reshape(-1))
        train, test, repeated = read_rows(self._dataset, subject, side, self._lag, rows)
        fitted = design.ridge.fit(train, self._mixes(design.ridge))
        r, r2 = correlation(fitted.predicted, test), explained(fitted.predicted, test)
        measures, null = {"r": r, "r2": r2}, np.empty((0, len(r)), np.float32)
        if design.shifts:
            null = shifted_correlation(fitted.predicted, test, design.test["movie"], design.shifts)
            measures["p"] = p_values(r, null[design.distinct])
        if len(design.repeated):
            explainable = explainable_variance(repeated.reshape(*design.repeated.shape, -1))
            measures["explainable_variance"] = explainable
            measures["normalised_r"] = normalised(r, explainable)
        if self._settings.partition:
            measures |= parts(r2, self._without_each(design, train, test))
        return fitted, measures, null

    def _without_each(self, design: Design, train: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
        """Space -> R2 of the model of all others."""
        return {
            space: explained(design.ridge.fit(train, self._mixes(design.ridge, number)).predicted, test)
            for number, space in enumerate(self._designs.spaces)
        }

    def _mixes(self, ridge: BandedRidge, left_out: int | None = None) -> np.ndarray:
        """(k, spaces) to try, with no share of a space that is left out."""
        kept = [number for number in range(len(self._designs.spaces)) if number != left_out]
        power = ridge.power[kept]
        plain = self._settings.ridge == "plain" or len(kept) == 1
        tried = mixes.as_given(power) if plain else mixes.candidates(power, self._settings.mixes)
        found = np.zeros((len(tried), len(self._designs.spaces)))
        found[:, kept] = tried
        return found
