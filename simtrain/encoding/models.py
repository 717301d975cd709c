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

from simdata.common.errors import UserError
from simtrain.baselines.ridge import film_folds
from simtrain.baselines.targets import Targets
from simtrain.config.resolved import ResolvedConfig
from simtrain.data.dataset import SPLITS, Dataset
from simtrain.data.windows import HEMISPHERES, TRAIN, Windows
from simtrain.encoding import mixes
from simtrain.encoding.accuracy import correlation, explained
from simtrain.encoding.banded_ridge import BandedRidge
from simtrain.encoding.bold import read_rows
from simtrain.encoding.rows import film_clips, rows_of

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
    """

    delays: tuple[int, int]
    ridge: str = "plain"
    mixes: int = MIXES
    split: str = "test"


@dataclass(frozen=True)
class EncodingMaps:
    """How well encoding models predict the BOLD of scenes that they were not fitted in.

    Maps are float32, NaN outside the cortex and in hemispheres that are not used.

    Attributes
    ----------
    subjects : their ids
    spaces : names of feature spaces
    maps : measure -> (subjects, hemispheres, vertices)
    penalty : (subjects, spaces, hemispheres, vertices), in units of the mean eigenvalue of the space's X'X
    seconds : (subjects, 2) int, of training and of test
    columns : of the design
    """

    subjects: list[str]
    spaces: list[str]
    maps: dict[str, np.ndarray]
    penalty: np.ndarray
    seconds: np.ndarray
    columns: int

    @property
    def means(self) -> dict[str, np.ndarray]:
        """Measure -> (hemispheres, vertices): the mean over subjects."""
        return {measure: values.mean(axis=0) for measure, values in self.maps.items()}


@dataclass(frozen=True)
class _Design:
    """Rows of training and of test, ROW, and the ridge of their features."""

    train: np.ndarray
    test: np.ndarray
    ridge: BandedRidge
    columns: int


class EncodingModels:
    """The design of a store's films, and what fits and tests it on a subject.

    Parameters
    ----------
    config : its embeddings, lag and hemispheres

    Raises
    ------
    UserError
        If there are no rows for training or none for test.
    """

    def __init__(
        self, dataset: Dataset, config: ResolvedConfig, settings: EncodingSettings, device: torch.device
    ) -> None:
        self._dataset, self._settings, self._device = dataset, settings, device
        self._lag, self._sides = config.data.lag, config.data.sides
        used = Windows.of(dataset, config)
        self._targets = Targets(used.embeddings, used.clips)
        self.spaces = [embedding.variable for embedding in used.embeddings.values()]
        first, last = settings.delays
        self._delays = np.arange(first, last + 1)
        self._train, self._test = (
            rows_of(dataset, used.clips, split, self._delays, self._lag)
            for split in (TRAIN, SPLITS.index(settings.split))
        )
        for rows, name in ((self._train, "training"), (self._test, settings.split)):
            if not len(rows):
                raise UserError(
                    f"{dataset.path} has no second of {name} scenes with all clips of `delays` {first} "
                    f"to {last} s in its scene: take fewer, or other `splits`"
                )
        self._designs: dict[bytes, _Design] = {}

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
            self._rows_of(subject)  # if one has too few, say so before the work begins
        shape = (HEMISPHERES, self._dataset.cortex.shape[1])
        maps = {measure: np.full((len(subjects), *shape), np.nan, np.float32) for measure in ("r", "r2")}
        penalty = np.full((len(subjects), len(self.spaces), *shape), np.nan, np.float32)
        seconds = np.empty((len(subjects), 2), int)
        for row, subject in enumerate(subjects):
            progress(self._dataset.subjects[subject], row + 1, len(subjects))
            design = self._design(subject)
            seconds[row] = len(design.train), len(design.test)
            for side in self._sides:
                vertices = np.flatnonzero(self._dataset.cortex[side])
                train, test = read_rows(self._dataset, subject, side, self._lag, (design.train, design.test))
                fitted = design.ridge.fit(train, self._mixes(design.ridge))
                maps["r"][row, side, vertices] = correlation(fitted.predicted, test)
                maps["r2"][row, side, vertices] = explained(fitted.predicted, test)
                penalty[row, :, side, vertices] = fitted.penalty
        names = [self._dataset.subjects[subject] for subject in subjects]
        return EncodingMaps(names, self.spaces, maps, penalty, seconds, design.columns)

    def _mixes(self, ridge: BandedRidge) -> np.ndarray:
        if self._settings.ridge == "plain":
            return mixes.as_given(ridge.power)
        return mixes.candidates(ridge.power, self._settings.mixes)

    def _rows_of(self, subject: int) -> tuple[np.ndarray, np.ndarray]:
        """Of training and of test, in the movies whose run the subject has."""
        movies = np.flatnonzero(self._dataset.complete[subject])
        train, test = (rows[np.isin(rows["movie"], movies)] for rows in (self._train, self._test))
        clips = film_clips(self._dataset, train)
        if clips < 2 or not len(test):
            name = self._dataset.subjects[subject]
            raise UserError(
                f"`subjects` {name}: its runs have training scenes of {clips} clips of the film "
                f"(cross-validation needs 2), and {len(test)} seconds of {self._settings.split} scenes: "
                "leave it out, or give other `splits`"
            )
        return train, test

    def _design(self, subject: int) -> _Design:
        """The last one is kept: it bounds memory, and most subjects have the same runs."""
        movies = self._dataset.complete[subject].tobytes()
        if movies not in self._designs:
            self._designs.clear()
            train, test = self._rows_of(subject)
            x, new = self._features(train), self._features(test)
            fold = film_folds(train, self._dataset.segment)
            ridge = BandedRidge(x, new, fold, self._device)
            columns = sum(space.shape[1] for space in x)
            self._designs[movies] = _Design(train, test, ridge, columns)
        return self._designs[movies]

    def _features(self, rows: np.ndarray) -> list[np.ndarray]:
        """Of each space (n, delays * features) float32, delay by delay."""
        found = [self._targets.embed(rows["movie"], rows["clip"] - delay) for delay in self._delays]
        return [np.concatenate([at_delay[name] for at_delay in found], axis=1) for name in found[0]]
