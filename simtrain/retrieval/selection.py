"""Which windows of a store to look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simdata.common.errors import UserError
from simtrain.data.dataset import Dataset
from simtrain.data.experiments import experiments_in, why_none
from simtrain.data.filters import narrowed
from simtrain.data.windows import Windows, select
from simtrain.retrieval.evaluation import must_be_new
from simtrain.training.run_folder import FitRun


@dataclass(frozen=True)
class Selection:
    """Which windows to average over.

    Attributes
    ----------
    experiment : of `simtrain.data.experiments.EXPERIMENTS`; None: all usable windows, training's too
    split : the set in which it is, ``test`` or ``val``
    subjects : their ids; none: all
    movie : its name; None: all
    seconds : of the run, at which the stimulus clip begins; None: all
    most : so many windows of each subject, spread evenly; None: all
    """

    experiment: str | None = "new-subjects"
    split: str = "test"
    subjects: tuple[str, ...] = ()
    movie: str | None = None
    seconds: range | None = None
    most: int | None = None

    def windows(self, run: FitRun, dataset: Dataset) -> np.ndarray:
        """(n,) WINDOW, by subject, movie and second.

        Raises
        ------
        UserError
            If a subject or movie is unknown, nothing is left, or subjects that should be new are not.
        """
        found = Windows.of(dataset, run.config).find()
        if self.experiment is not None:
            found = select(found, *experiments_in(self.split)[self.experiment])
        found = narrowed(found, dataset, self.subjects, () if self.movie is None else (self.movie,))
        if self.seconds is not None:
            found = found[np.isin(found["clip"], list(self.seconds))]
        if not len(found):
            reason = "see `simdata info`"
            if self.experiment is not None:
                reason = why_none(dataset, [self.experiment], self.split)
            raise UserError(
                f"{dataset.path} has no windows of {self.experiment or 'any set'} for these subjects, movie "
                f"and seconds: {reason}"
            )
        if self.experiment is not None:
            must_be_new(run, dataset, found, self.experiment, self.split)
        return np.concatenate([self._spread(own) for own in by_subject(found)])

    def _spread(self, own: np.ndarray) -> np.ndarray:
        if self.most is None or len(own) <= self.most:
            return own
        return own[np.linspace(0, len(own) - 1, self.most).round().astype(int)]


def by_subject(windows: np.ndarray) -> list[np.ndarray]:
    """The windows of each subject, in the order of the store."""
    return [windows[windows["subject"] == subject] for subject in np.unique(windows["subject"])]
