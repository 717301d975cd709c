"""Which windows of a store to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simdata.common.errors import UserError
from simtrain.data.dataset import Dataset
from simtrain.data.windows import EXPERIMENTS, Windows, select
from simtrain.retrieval.evaluation import must_be_new
from simtrain.training.run_folder import FitRun


@dataclass(frozen=True)
class Selection:
    """Which windows to average over.

    Attributes
    ----------
    experiment : of `simtrain.data.windows.EXPERIMENTS`; None: all usable windows, training's too
    subjects : their ids; none: all
    movie : its name; None: all
    seconds : of the run, at which the stimulus clip begins; None: all
    most : so many windows of each subject, spread evenly; None: all
    """

    experiment: str | None = "new-subjects"
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
            found = select(found, *EXPERIMENTS[self.experiment])
        found = found[self._chosen(found, dataset)]
        if not len(found):
            raise UserError(
                f"{dataset.path} has no windows of {self.experiment or 'any set'} for these subjects, movie "
                "and seconds: see `simdata info` for its sets"
            )
        if self.experiment is not None:
            must_be_new(run, dataset, found, self.experiment)
        return np.concatenate([self._spread(own) for own in by_subject(found)])

    def _chosen(self, found: np.ndarray, dataset: Dataset) -> np.ndarray:
        chosen = np.ones(len(found), bool)
        if self.subjects:
            chosen &= np.isin(
                found["subject"], positions("subject", self.subjects, dataset.subjects, dataset)
            )
        if self.movie is not None:
            chosen &= np.isin(found["movie"], positions("movie", [self.movie], dataset.movies, dataset))
        if self.seconds is not None:
            chosen &= np.isin(found["clip"], list(self.seconds))
        return chosen

    def _spread(self, own: np.ndarray) -> np.ndarray:
        if self.most is None or len(own) <= self.most:
            return own
        return own[np.linspace(0, len(own) - 1, self.most).round().astype(int)]


def by_subject(windows: np.ndarray) -> list[np.ndarray]:
    """The windows of each subject, in the order of the store."""
    return [windows[windows["subject"] == subject] for subject in np.unique(windows["subject"])]


def positions(kind: str, wanted: Sequence[str], known: Sequence[str], dataset: Dataset) -> list[int]:
    """Rows of names in the store's list of what it has of a kind.

    Raises
    ------
    UserError
        If it lacks one.
    """
    if unknown := sorted(set(wanted) - set(known)):
        raise UserError(f"{dataset.path} has no {kind} {', '.join(unknown)}: see `simdata info`")
    return [known.index(name) for name in wanted]
