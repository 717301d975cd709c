"""How well a moment of the film is told by the BOLD of other subjects, who see it at the same time.

A window of a subject, as its scores on main axes, is aligned with the mean scores of other subjects at the
same moment, of all hemispheres beside each other: by SIM's projectors and loss, in training subjects and
scenes, each subject with the mean of the others, as inter-subject correlation has it (leave-one-out: Nastase
et al., SCAN 2019). In tests, the others' BOLD takes the place of the film.

So it says what all that subjects have in common is worth to a decoder, whatever features of the film bring it
about. It is a mark beside a model and no ceiling of it: the mean of few subjects is noisy, and features of
the film are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from simdata.common.errors import UserError
from simtrain.baselines.projectors import ScoresLearner
from simtrain.baselines.scores import Scores, ScoresFeed
from simtrain.config.resolved import ResolvedConfig, ResolvedData
from simtrain.data.dataset import Dataset, Embedding
from simtrain.data.windows import TRAIN, by_hemisphere, of_all_subjects
from simtrain.models.draws import SampleDraws

OTHERS = "others"  # the modality


class SummedScores(NamedTuple):
    """Of the scores of some subjects at every clip.

    Attributes
    ----------
    total : (movies, seconds, hemispheres * k), by the second of the clip
    subjects : (movies, seconds, 1), how many
    """

    total: Tensor
    subjects: Tensor

    @classmethod
    def of(cls, windows: np.ndarray, values: Tensor, shape: tuple[int, int]) -> SummedScores:
        """From ``windows`` (WINDOW) and their scores (n, hemispheres * k), of so many movies and seconds."""
        at = _place(windows)
        total = values.new_zeros(*shape, values.shape[1])
        subjects = values.new_zeros(*shape, 1)
        total.index_put_(at, values, accumulate=True)
        subjects.index_put_(at, values.new_ones(len(values), 1), accumulate=True)
        return cls(total, subjects)

    @property
    def mean(self) -> Tensor:
        """NaN where there is no subject."""
        return self.total / self.subjects

    def without(self, windows: np.ndarray, values: Tensor, within: np.ndarray) -> Tensor:
        """(n, hemispheres * k) means of the others at the moment of each window; NaN where there are none.

        Parameters
        ----------
        values : (n, hemispheres * k), the windows' own scores
        within : (n,) bool, which windows are in the sums
        """
        at, own = _place(windows), torch.from_numpy(within)[:, None].to(values)
        return (self.total[at] - own * values) / (self.subjects[at] - own)


class InterSubjectLearner(ScoresLearner):
    """Aligns a window's scores with the mean scores of others, which come with it in a batch.

    Parameters
    ----------
    others : (movies, seconds, hemispheres * k) of training subjects, what `embed_clips` gives of a clip
    """

    def __init__(
        self, config: ResolvedConfig, dataset: Dataset, others: Tensor, window: int, components: int
    ) -> None:
        alone = config.model_copy(
            update={
                "modalities": ("fmri", OTHERS),
                # Scaled by one factor: axes along which subjects agree keep their larger share.
                "data": config.data.model_copy(update={"features": "raw"}),
            }
        )
        embedding = Embedding(OTHERS, others.cpu().numpy(), window)
        super().__init__(alone, dataset, {OTHERS: embedding}, components)
        self._components = components

    def embed(
        self, samples: np.ndarray, stored: Tensor, draws: SampleDraws | None = None
    ) -> dict[str, Tensor]:
        """As `Learner.embed`, of samples whose scores are followed by those of the others."""
        own, features = stored[:, : self._components], {OTHERS: stored[:, self._components :]}
        if draws is not None:
            features = self.left_out.thinned(features, samples, draws)
        return {"fmri": self.embed_fmri(samples, own)} | self.sim.embed_stimuli(features)


class Aligned(NamedTuple):
    """What training and validation see.

    Attributes
    ----------
    windows, held_out : WINDOW, those of which there are others
    feed : of their scores, followed by those of the others at the same moment, (n, k * (1 + hemispheres))
    sums : of training subjects
    scale : the s.d. of the others' scores in training, which they are divided by
    """

    windows: np.ndarray
    held_out: np.ndarray
    feed: ScoresFeed
    sums: SummedScores
    scale: float

    @classmethod
    def of(
        cls,
        windows: np.ndarray,
        held_out: np.ndarray,
        scores: Scores,
        sides: Sequence[int],
        shape: tuple[int, int],
    ) -> Aligned:
        """Of windows to train on and to validate with, in hemispheres at positions ``sides``.

        Parameters
        ----------
        shape : movies and seconds of the store

        Raises
        ------
        UserError
            If no moment is of two training subjects.
        """
        both = np.concatenate([windows, held_out])
        samples, trains = by_hemisphere(both, sides), both["subject_split"] == TRAIN
        own = scores.of(samples)
        whole = own.view(len(both), -1)
        sums = SummedScores.of(both[trains], whole[torch.from_numpy(trains)], shape)
        others = sums.without(both, whole, trains)
        known = others.isfinite().all(dim=1).cpu().numpy()
        here = known[: len(windows)]
        if not here.any():
            raise UserError("intersubject: no two training subjects have BOLD of the same moment")
        scale = float(others[: len(windows)][torch.from_numpy(here)].std())
        beside = torch.cat([own, (others / scale).repeat_interleave(len(sides), dim=0)], dim=1)
        feed = ScoresFeed(samples, beside)
        return cls(windows[here], held_out[known[len(windows) :]], feed, sums, scale)


class Seen:
    """Stands for a model in a test: embeds clips by the mean scores of subjects that are not tested.

    Parameters
    ----------
    means : (movies, seconds, hemispheres * k), scaled as in training; NaN where there are none
    """

    modalities = (OTHERS,)

    def __init__(self, learner: InterSubjectLearner, means: Tensor) -> None:
        self._learner, self._means = learner, means
        self.window = learner.window

    def embed_clips(self, movie: np.ndarray, clip: np.ndarray) -> dict[str, Tensor]:
        """(n, dim) of clips.

        Raises
        ------
        UserError
            If none of the others has BOLD of one.
        """
        values = self._means[
            torch.from_numpy(movie.astype(np.int64)), torch.from_numpy(clip.astype(np.int64))
        ]
        if values.isnan().any():
            raise UserError(
                "intersubject: no subject but those tested has BOLD of a tested clip: see `simdata info`"
            )
        return self._learner.sim.embed_stimuli({OTHERS: values})


def others_of(dataset: Dataset, tested: np.ndarray) -> np.ndarray:
    """Positions of the subjects whose mean the ``tested`` ones are compared with.

    The training subjects; where these are tested themselves (new-scenes), all that are not. So nobody is
    compared with a mean that he is part of.
    """
    train = np.flatnonzero(dataset.subject_split == TRAIN)
    rest = np.setdiff1d(np.flatnonzero(dataset.subject_split > 0), tested)
    return rest if np.isin(train, tested).any() else train


def mean_of_others(windows: np.ndarray, scores: Scores, dataset: Dataset, data: ResolvedData) -> Tensor:
    """(movies, seconds, hemispheres * k) mean scores of the others (`others_of`), of the ``windows``' clips.

    What leads out of a run takes its last window. NaN elsewhere, and where no other has a run.
    """
    clips = np.unique(windows[["movie", "clip"]])
    movie, clip = clips["movie"], clips["clip"]
    second = np.minimum(clip + data.lag, dataset.volumes[movie] - data.frames)
    found = of_all_subjects(dataset, movie, clip, second, dataset.scene_split[movie, clip], data.frames)
    own = found[np.isin(found["subject"], others_of(dataset, np.unique(windows["subject"])))]
    values = scores.of(by_hemisphere(own, data.sides)).view(len(own), -1)
    return SummedScores.of(own, values, dataset.segment.shape).mean


def _place(windows: np.ndarray) -> tuple[Tensor, Tensor]:
    movie, clip = (torch.from_numpy(windows[axis].astype(np.int64)) for axis in ("movie", "clip"))
    return movie, clip
