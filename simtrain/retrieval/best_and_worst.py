"""The clips that are retrieved best and worst, and what is retrieved in their place.

Clips are chosen by the mean, over all tested windows of a clip (of all subjects, draws and hemispheres), of
the share of a window's negatives that rank before the true clip; of equals the one goes first that was tested
more often, then the earlier. None of the chosen lies within the gap of another: ten clips are ten moments.

What is retrieved is sought among all clips that the protocol lets into the clip's pools, not only those that
were drawn: by the mean similarity of the tested windows to each. Those that are shown lie apart, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.config.modalities import kind
from simtrain.data.dataset import Dataset
from simtrain.data.windows import Windows
from simtrain.models.embeddings import embed_units
from simtrain.models.learner import Learner
from simtrain.retrieval.evaluation import RetrievalResult
from simtrain.retrieval.pools import candidates_of, gap
from simtrain.retrieval.protocol import Protocol
from simtrain.retrieval.tables import subject_name
from simtrain.retrieval.units import EVERYONE, find_units
from simtrain.training.run_folder import FitRun
from simtrain.training.trained_model import load_learner

BEST, WORST = "best", "worst"
TOP = 5  # retrieved clips to show


@dataclass(frozen=True)
class Clip:
    """A clip of the film: a movie's position, the second at which it begins, and its similarity."""

    movie: int
    second: int
    similarity: float = float("nan")


@dataclass(frozen=True)
class RankedClip:
    """A tested clip.

    Attributes
    ----------
    which : ``best`` or ``worst``
    share : of the other candidates that rank before it, mean over its tested windows
    rank, candidates : means over the same
    windows : how many were tested, of which subjects
    retrieved : the most similar clips, the true one among them where it belongs
    length : s, of a clip
    """

    which: str
    clip: Clip
    share: float
    rank: float
    candidates: float
    windows: int
    subjects: tuple[str, ...]
    retrieved: tuple[Clip, ...]
    length: int


def shown_modality(run: FitRun) -> str:
    """The modality whose retrieval is shown: the run's first of video, or without video its first."""
    stimuli = run.config.stimuli
    return next((modality for modality in stimuli if kind(modality) == "video"), stimuli[0])


def must_be_shown(protocol: Protocol) -> None:
    """Raise a UserError if what is tested is no single clip, or not its own."""
    if protocol.average_windows > 1:
        raise UserError("`best_and_worst` with `average_windows`: means of several clips have no picture")
    if protocol.shuffle:
        raise UserError("`best_and_worst` with `shuffle`: every clip has another's stimulus")


def find_best_and_worst(
    run: FitRun,
    dataset: Dataset,
    results: Mapping[str, RetrievalResult],
    protocol: Protocol,
    count: int,
    device: torch.device,
) -> dict[str, list[RankedClip]]:
    """``count`` best and worst clips of each experiment, or as many as there are."""
    modality, learner = shown_modality(run), load_learner(run, dataset, device)
    of_all = Windows.of(dataset, run.config)
    found, which = {}, {**protocol.which, "in_no_set": False}
    for name, result in results.items():
        windows = of_all.experiments(name, protocol.lag, **which)[name]
        length = of_all.embeddings[modality].window
        shown = _Experiment(learner, run, dataset, windows, result, protocol.of(modality), modality, length)
        found[name] = shown.best_and_worst(count)
    return found


class _Experiment:
    """The tested windows of one experiment, clip by clip."""

    def __init__(
        self,
        learner: Learner,
        run: FitRun,
        dataset: Dataset,
        windows: np.ndarray,
        result: RetrievalResult,
        protocol: Protocol,
        modality: str,
        length: int,
    ) -> None:
        self._length = length
        self._dataset, self._windows, self._protocol = dataset, windows, protocol
        self._learner, self._modality = learner, modality
        self._apart = gap(protocol, learner.window)
        self._embed = partial(
            embed_units, learner, BoldReader(dataset.path), result.units, frames=run.config.data.frames
        )
        self._candidates = find_units(windows, dataset.segment, 1, protocol.average_subjects)
        self._film_clip = dataset.segment[self._candidates["movie"], self._candidates["clip"]]
        direction = f"fmri->{modality}"
        tested, score = result.tested[direction], result.scores[direction]
        self._rank, self._among = score.ranks.rank.ravel(), score.ranks.candidates.ravel()
        draws, size = tested.shape
        self._unit = np.tile(np.repeat(np.arange(len(result.units)), size // len(result.units)), draws)
        self._tested = tested.ravel()
        self._clips, self._clip = np.unique(self._tested[["movie", "clip"]], return_inverse=True)

    def best_and_worst(self, count: int) -> list[RankedClip]:
        tested = np.bincount(self._clip)
        share = np.bincount(self._clip, (self._rank - 1) / (self._among - 1)) / tested
        best = self._spread(np.lexsort((-tested, share)).tolist(), count)
        others = [clip for clip in np.lexsort((-tested, -share)).tolist() if clip not in best]
        worst = self._spread(others, count)
        chosen = [(BEST, clip) for clip in best] + [(WORST, clip) for clip in worst]
        return [self._ranked(which, clip, float(share[clip])) for which, clip in chosen]

    def _spread(self, order: Sequence[int], count: int) -> list[int]:
        """The first ``count`` clips that lie apart."""
        kept: list[int] = []
        for clip in order:
            if len(kept) == count:
                break
            if all(self._far(self._clips[clip], self._clips[other]) for other in kept):
                kept.append(clip)
        return kept

    def _far(self, one: np.void, other: np.void) -> bool:
        return one["movie"] != other["movie"] or abs(int(one["clip"]) - int(other["clip"])) >= self._apart

    def _ranked(self, which: str, clip: int, share: float) -> RankedClip:
        own = np.flatnonzero(self._clip == clip)
        subjects = np.unique(self._tested["subject"][own])
        return RankedClip(
            which,
            Clip(int(self._clips[clip]["movie"]), int(self._clips[clip]["clip"])),
            share,
            float(self._rank[own].mean()),
            float(self._among[own].mean()),
            len(own),
            tuple(subject_name(self._dataset, subject) for subject in subjects),
            tuple(self._retrieved(own)),
            self._length,
        )

    def _retrieved(self, own: np.ndarray) -> list[Clip]:
        """The clips most similar to the tested windows ``own`` of one clip, that lie apart."""
        first = self._tested[own[0]]
        same = self._candidates[["subject", "movie", "second"]] == first[["subject", "movie", "second"]]
        true = int(np.flatnonzero(same)[0])
        others = candidates_of(self._candidates, self._film_clip, true, self._protocol, self._apart)
        clips = np.unique(self._candidates[np.r_[true, others]][["movie", "clip"]])
        similarity = self._embedded_clips(clips) @ self._embedded_windows(own)
        kept: list[int] = []
        for row in np.argsort(-similarity, kind="stable"):
            if len(kept) < TOP and all(self._far(clips[row], clips[other]) for other in kept):
                kept.append(int(row))
        return [
            Clip(int(clips[row]["movie"]), int(clips[row]["clip"]), float(similarity[row])) for row in kept
        ]

    @torch.no_grad()
    def _embedded_clips(self, clips: np.ndarray) -> np.ndarray:
        embedded = self._learner.embed_clips(clips["movie"], clips["clip"])[self._modality]
        return embedded.float().cpu().numpy()

    def _embedded_windows(self, own: np.ndarray) -> np.ndarray:
        """(dim,): the mean embedding, so that products with it are mean similarities."""
        tested, unit = self._tested[own], self._unit[own]
        if tested["subject"][0] == EVERYONE:
            of_clip = self._windows[["movie", "second"]] == tested[0][["movie", "second"]]
            return self._embed(self._windows[of_clip])[:, np.unique(unit)].mean(axis=(0, 1))
        windows, row = np.unique(tested, return_inverse=True)
        return self._embed(windows)[row, unit].mean(axis=0)
