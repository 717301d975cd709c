"""What a run is adapted with: a subject's first minutes of training scenes, and others' BOLD of the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from simdata.common.errors import UserError
from simtrain.data.dataset import SPLITS, Dataset
from simtrain.data.scan_rows import window_starts
from simtrain.data.windows import TRAIN, Windows, by_hemisphere, training
from simtrain.models.alignment import Components
from simtrain.models.learner import Learner
from simtrain.models.main_axes import main_axes
from simtrain.models.patch_embeddings import MainComponents
from simtrain.training.preparation import decoded, draw
from simtrain.training.run_folder import FitRun

COMPONENTS = 12  # of a patch, where the model has none of its own
FITTED_ON = 1024  # samples of training that these are fitted on


@dataclass(frozen=True)
class Material:
    """Windows of a subject's first minutes in training scenes.

    Attributes
    ----------
    run : to be adapted
    dataset : with the sets of the run's training
    subject : to adapt to, by position
    others : (n,) int, training subjects, by position
    windows : (n,) WINDOW of the subject, by movie and time
    seconds : of BOLD in them
    """

    run: FitRun
    dataset: Dataset
    subject: int
    others: np.ndarray
    windows: np.ndarray
    seconds: int

    @classmethod
    def of(cls, run: FitRun, dataset: Dataset, subject: str, minutes: float | None) -> Material:
        """The windows in the first ``minutes`` of BOLD that answers training scenes, or None: in all of it.

        Parameters
        ----------
        dataset : with the sets of the run's training (`RunFolder.divided`)

        Raises
        ------
        UserError
            If the store lacks the subject, they were trained on, or there is less BOLD than that, or nobody
            else's.
        """
        position = _new_subject(run, dataset, subject)
        others = np.flatnonzero(dataset.subject_split == TRAIN)
        found = Windows.of(dataset, run.config).find()
        own = found[(found["subject"] == position) & (found["scene_split"] == TRAIN)]
        starts = window_starts(dataset.run[others], run.config.data.frames)
        own = own[starts[:, own["movie"], own["second"]].any(axis=0)]
        covered = own["second"][:, None] + np.arange(run.config.data.frames)
        _, second = np.unique(own["movie"][:, None] * 10**6 + covered, return_inverse=True)
        second = second.reshape(covered.shape)  # of the subject's BOLD that can be had, by movie and time
        there = int(second.max()) + 1 if len(own) else 0
        wanted = there if minutes is None else round(60 * minutes)
        if wanted > there or not there:
            raise UserError(
                f"`minutes`: {subject} has {there / 60:.3g} minutes in {dataset.path}, in training scenes "
                "that training subjects have seen too: ask for these, or for all, without `minutes`"
            )
        return cls(run, dataset, position, others, own[(second < wanted).all(axis=1)], wanted)

    @property
    def film(self) -> dict[str, list[list[int]]]:
        """Movie -> stretches of the film that the BOLD answers, as [first, last] second."""
        found, frames = {}, self.run.config.data.frames
        for one in np.unique(self.windows["movie"]):
            clip = self.windows["clip"][self.windows["movie"] == one]
            second = np.unique(clip[:, None] + np.arange(frames))
            stretches = np.split(second, np.flatnonzero(np.diff(second) > 1) + 1)
            found[self.dataset.movies[one]] = [[int(of[0]), int(of[-1])] for of in stretches]
        return found

    @property
    def names(self) -> list[str]:
        """Of the others."""
        return [self.dataset.subjects[other] for other in self.others]

    def components(self, learner: Learner) -> Components:
        """The main components of patches: those that the model embeds them by, or of training windows."""
        encoder, embed = learner.encoder, learner.encoder.embed
        whole = encoder.temporal == "channels" and encoder.order is None  # a token has the patch as it comes
        if whole and isinstance(embed, MainComponents):
            return Components.of(embed.mean, embed.axes)
        windows = training(Windows.of(self.dataset, self.run.config).find())
        drawn = draw(by_hemisphere(windows, learner.sides), FITTED_ON, 0)
        found = main_axes(self._blocks(learner, drawn), COMPONENTS)
        return Components.of(found.mean, found.axes.mT)

    def scores(self, learner: Learner, components: Components) -> tuple[Tensor, Tensor]:
        """The subject's, and the others' mean, (windows, hemispheres, patches, k)."""
        own = self._scores(learner, components, self.windows)
        total, count = torch.zeros_like(own), torch.zeros(len(own), device=own.device)
        for other in self.others.tolist():
            starts = window_starts(self.dataset.run[other], self.run.config.data.frames)
            seen = torch.from_numpy(starts[self.windows["movie"], self.windows["second"]]).to(own.device)
            windows = self.windows[seen.cpu().numpy()]
            windows["subject"] = other
            if len(windows):
                total[seen] += self._scores(learner, components, windows)
            count += seen
        return own, total / count[:, None, None, None]

    def _scores(self, learner: Learner, components: Components, windows: np.ndarray) -> Tensor:
        samples = by_hemisphere(windows, learner.sides)
        found = torch.cat([components.scores(one) for one in self._blocks(learner, samples)()])
        return found.unflatten(0, (-1, len(learner.sides)))

    def _blocks(self, learner: Learner, samples: np.ndarray) -> Callable[[], Iterator[Tensor]]:
        length = self.run.config.data.frames
        return decoded(self.dataset, samples, learner.frames, length, learner.device)


def _new_subject(run: FitRun, dataset: Dataset, subject: str) -> int:
    if subject not in dataset.subjects:
        raise UserError(f"{dataset.path} has no subject {subject}: see `simdata info`")
    position = dataset.subjects.index(subject)
    if subject in run.seen(dataset).trained or SPLITS[dataset.subject_split[position]] == "train":
        raise UserError(f"{subject}: {run.path} was trained on them, so that there is nothing to adapt to")
    return position
