"""Encoding models: ridge regression from the film's embeddings at several delays to the BOLD of every vertex.

A model for each subject, fitted in training scenes and tested in test scenes (Naselaris et al., NeuroImage
2011, doi:10.1016/j.neuroimage.2010.07.073; delays as in Nishimoto et al., Current Biology 2011). The penalty
of each vertex is the one whose squared error is least in cross-validation over clips of the film, within the
training scenes.

All vertices share the design, and subjects with the same runs do: it is decomposed once, and vertices go
through in parts, so that memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.baselines.courses import read_run, zscore
from simtrain.baselines.ridge import PENALTIES, film_folds
from simtrain.baselines.targets import Targets
from simtrain.config.resolved import ResolvedConfig
from simtrain.data.dataset import Dataset
from simtrain.data.windows import HEMISPHERES, TEST, TRAIN, Windows, within_scene

PART = 4096  # vertices at a time
ROW = np.dtype([("movie", "i4"), ("clip", "i4")])  # BOLD at clip + lag, and the clips around it


@dataclass(frozen=True)
class EncodingMaps:
    """How well encoding models predict BOLD of test scenes.

    Attributes
    ----------
    subjects : their ids
    r : (subjects, hemispheres, vertices) float32, Pearson's over the seconds of test scenes; 0 where BOLD
        does not vary, NaN outside the cortex and in hemispheres that are not used
    penalty : of the same shape, in units of the mean eigenvalue of X'X
    seconds : (subjects, 2) int, of training and of test
    features : columns of the design
    """

    subjects: list[str]
    r: np.ndarray
    penalty: np.ndarray
    seconds: np.ndarray
    features: int

    @property
    def mean(self) -> np.ndarray:
        """(hemispheres, vertices): the mean over subjects."""
        return self.r.mean(axis=0)


class RidgeOfOneDesign:
    """Ridge regression of any number of targets on one design, and what it predicts of new rows.

    Parameters
    ----------
    x : (n, features) of training
    fold : (n,) int, for cross-validation
    new : (m, features), of which to predict
    """

    def __init__(self, x: np.ndarray, fold: np.ndarray, new: np.ndarray, device: torch.device) -> None:
        rows, whole = (torch.from_numpy(part.astype(np.float64)).to(device) for part in (x, new))
        self._device = device
        self._all = _Decomposed(rows, whole)
        self.penalties = torch.from_numpy(PENALTIES).to(device)
        self._unit = self._all.power / x.shape[1]
        self._folds = [
            (held_out, _Decomposed(rows[~held_out], rows[held_out]))
            for held_out in (torch.from_numpy(fold == one).to(device) for one in np.unique(fold))
        ]

    def predict(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(m, targets) predicted from targets (n, targets) of training, and each target's penalty."""
        targets = torch.from_numpy(y).to(self._device, torch.float64)
        errors = torch.zeros(len(self.penalties), targets.shape[1], dtype=torch.float64, device=self._device)
        for held_out, part in self._folds:
            fitted = part.fitted(targets[~held_out])
            for row, penalty in enumerate(self.penalties):
                missed = fitted(penalty * self._unit) - targets[held_out]
                errors[row] += missed.square().sum(dim=0)
        chosen = self.penalties[errors.argmin(dim=0)]
        predicted = self._all.fitted(targets)(chosen * self._unit)
        return predicted.cpu().numpy(), chosen.cpu().numpy()


class _Decomposed:
    """A design and new rows, centred on the design's means: by the smaller of X'X and XX'.

    Predictions are A diag(1 / (l + penalty)) B Y. With XX' = U l U', A = N X'U and B = U'; with X'X = V l V',
    A = N V and B = V'X'; N are the new rows.
    """

    def __init__(self, x: Tensor, new: Tensor) -> None:
        mean = x.mean(dim=0)
        centred, new = x - mean, new - mean
        if len(x) <= x.shape[1]:
            values, vectors = torch.linalg.eigh(centred @ centred.T)
            self._before, self._behind = new @ (centred.T @ vectors), vectors.T
        else:
            values, vectors = torch.linalg.eigh(centred.T @ centred)
            self._before, self._behind = new @ vectors, vectors.T @ centred.T
        self._values = values.clamp(min=0)
        self.power = float(centred.square().sum())

    def fitted(self, y: Tensor) -> Callable[[Tensor], Tensor]:
        """From a penalty, or one of each target, to predictions of the new rows."""
        mean = y.mean(dim=0)
        projected = self._behind @ (y - mean)

        def predict(penalty: Tensor) -> Tensor:
            if penalty.ndim == 0:  # the same of all: the smaller factor takes it
                return (self._before / (self._values + penalty)) @ projected + mean
            return self._before @ (projected / (self._values[:, None] + penalty)) + mean

        return predict


class EncodingModels:
    """The design of a store's films, and what fits and tests it on a subject.

    Parameters
    ----------
    config : its embeddings, lag and hemispheres
    delays : first and last, s after the lag, at which BOLD follows a clip's beginning

    Raises
    ------
    UserError
        If there are no rows for training or none for test.
    """

    def __init__(
        self, dataset: Dataset, config: ResolvedConfig, delays: tuple[int, int], device: torch.device
    ) -> None:
        self._dataset, self._config, self._device = dataset, config, device
        used = Windows.of(dataset, config)
        self._targets, self._delays = (
            Targets(used.embeddings, used.clips),
            np.arange(delays[0], delays[1] + 1),
        )
        self._reader = BoldReader(dataset.path)
        self._rows = {split: self._find(used.clips, split) for split in (TRAIN, TEST)}
        for split, name in ((TRAIN, "training"), (TEST, "test")):
            if not len(self._rows[split]):
                raise UserError(
                    f"{dataset.path} has no second of {name} scenes with all clips of `delays` {delays[0]} "
                    f"to {delays[1]} s in its scene: take fewer, or other `splits`"
                )
        self._designs: dict[bytes, _Design] = {}

    def of(
        self, subjects: Sequence[int], progress: Callable[[str, int, int], None] = lambda *_: None
    ) -> EncodingMaps:
        """Fit and test the models of subjects, by their positions; those without all runs have fewer rows.

        Raises
        ------
        UserError
            If a subject's runs have training scenes of less than two clips, or no test scenes.
        """
        for subject in subjects:
            self._rows_of(subject)  # if one has too few, say so before the work begins
        shape = (len(subjects), HEMISPHERES, self._dataset.cortex.shape[1])
        r, penalty = np.full((2, *shape), np.nan, np.float32)
        seconds = np.empty((len(subjects), 2), int)
        for row, subject in enumerate(subjects):
            progress(self._dataset.subjects[subject], row + 1, len(subjects))
            design = self._design(subject)
            seconds[row] = len(design.train), len(design.test)
            for side in self._config.data.sides:
                for vertices, bold in self._bold(subject, side, design):
                    predicted, chosen = design.ridge.predict(bold[0])
                    r[row, side, vertices], penalty[row, side, vertices] = (
                        correlation(predicted, bold[1]),
                        chosen,
                    )
        names = [self._dataset.subjects[subject] for subject in subjects]
        return EncodingMaps(names, r, penalty, seconds, design.features)

    def _find(self, clips: np.ndarray, split: int) -> np.ndarray:
        """(n,) ROW of one set of scenes: no delay leads to a clip of another scene."""
        movie, clip = np.nonzero(clips == split)
        first, last = -self._delays[-1], -self._delays[0]
        usable = within_scene(self._dataset, movie, clip, first, last)
        bold = clip + self._config.data.lag
        usable &= (bold >= 0) & (bold < self._dataset.volumes[movie])
        movie, clip = movie[usable], clip[usable]
        around = clips[movie[:, None], clip[:, None] - self._delays]
        rows = np.empty(len(movie), ROW)
        rows["movie"], rows["clip"] = movie, clip
        return rows[(around == split).all(axis=1)]

    def _rows_of(self, subject: int) -> tuple[np.ndarray, np.ndarray]:
        """Of training and of test, in the movies whose run the subject has."""
        movies = np.flatnonzero(self._dataset.complete[subject])
        train, test = (rows[np.isin(rows["movie"], movies)] for rows in self._rows.values())
        segment = self._dataset.segment[train["movie"], train["clip"]]
        clips = len(set(zip(train["movie"].tolist(), segment.tolist(), strict=True)))
        if clips < 2 or not len(test):
            name = self._dataset.subjects[subject]
            raise UserError(
                f"`subjects` {name}: its runs have training scenes of {clips} clips of the film "
                f"(cross-validation needs 2), and {len(test)} seconds of test scenes: leave it out, or give "
                "other `splits`"
            )
        return train, test

    def _design(self, subject: int) -> _Design:
        """The last one is kept: it bounds memory, and most subjects have the same runs."""
        movies = self._dataset.complete[subject].tobytes()
        if movies not in self._designs:
            train, test = self._rows_of(subject)
            x, fold = self._features(train), film_folds(train, self._dataset.segment)
            ridge = RidgeOfOneDesign(x, fold, self._features(test), self._device)
            self._designs = {movies: _Design(train, test, ridge, x.shape[1])}
        return self._designs[movies]

    def _features(self, rows: np.ndarray) -> np.ndarray:
        """(n, delays * features) float32, delay by delay."""
        return np.concatenate(
            [self._targets.of(rows["movie"], rows["clip"] - delay) for delay in self._delays], axis=1
        )

    def _bold(
        self, subject: int, side: int, design: _Design
    ) -> Iterator[tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]]:
        """Parts of the cortex: vertices, and their BOLD in training and test, z-scored over each run."""
        cortex, parts = np.flatnonzero(self._dataset.cortex[side]), []
        for rows in (design.train, design.test):
            bold = np.empty((len(rows), len(cortex)), np.float32)
            for movie in np.unique(rows["movie"]):
                own = rows["movie"] == movie
                run = read_run(self._reader, subject, int(movie), side, int(self._dataset.volumes[movie]))
                bold[own] = zscore(run[:, cortex])[rows["clip"][own] + self._config.data.lag]
            parts.append(bold)
        for start in range(0, len(cortex), PART):
            chosen = slice(start, start + PART)
            yield cortex[chosen], (parts[0][:, chosen], parts[1][:, chosen])


@dataclass(frozen=True)
class _Design:
    """Rows of training and of test, ROW, and the ridge of their features."""

    train: np.ndarray
    test: np.ndarray
    ridge: RidgeOfOneDesign
    features: int


def correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(targets,) Pearson's over the rows; 0 where one does not vary."""
    one, other = (values - values.mean(axis=0) for values in (one.astype(float), other.astype(float)))
    length = np.linalg.norm(one, axis=0) * np.linalg.norm(other, axis=0)
    return (one * other).sum(axis=0) / np.where(length > 0, length, 1)
