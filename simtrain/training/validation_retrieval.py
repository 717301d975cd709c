"""Retrieval in validation: how likely a window's own clip comes first in a pool of its movie.

What `simtrain retrieve` tests, of single hemispheres and from fMRI to the stimulus, but without a draw: top-1
is expected over all pools that could be drawn. Candidates are the clips of the same movie and set of scenes
that share no moment with the window.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from simtrain.common.pool_ranks import rank_probabilities
from simtrain.data.windows import TRAIN, VAL
from simtrain.models.learner import Learner

POOL = 32  # candidates, the true one included, as in `simtrain retrieve`
RETRIEVAL = "retrieval"
GROUPS = {"new-subjects": TRAIN, "new-scenes": VAL}  # by the set of their scenes; all are held out


class ValidationRetrieval:
    """Scores held-out samples among the clips of their movies.

    Parameters
    ----------
    clips : (movies, seconds) int8 as `simtrain.data.windows.clip_split` gives
    """

    def __init__(self, learner: Learner, clips: np.ndarray) -> None:
        self._learner, self._clips = learner, clips

    def __call__(self, samples: np.ndarray, embeddings: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """For each group and stimulus, such as ``new-subjects-top1-video``, a value for each of its samples.

        Samples that were trained on, and those without any candidate, have none.

        Parameters
        ----------
        samples : (n,) SAMPLE
        embeddings : (n, dim) of every modality
        """
        held_out = (samples["subject_split"] != TRAIN) | (samples["scene_split"] != TRAIN)
        if not held_out.any():
            return {}
        movie, clip = self._clips_of(samples["movie"])
        against = self._negatives(samples, movie, clip)
        groups = {
            name: torch.from_numpy(held_out & (samples["scene_split"] == scenes) & against.any(axis=1))
            for name, scenes in GROUPS.items()
        }
        negatives = torch.from_numpy(against).to(self._learner.device)
        found: dict[str, Tensor] = {}
        for modality, clips in self._learner.embed_clips(movie, clip).items():
            fmri, own = embeddings["fmri"].float(), embeddings[modality].float()
            true = (fmri * own).sum(dim=1, keepdim=True)
            ahead = negatives & ~(fmri @ clips.float().T < true)  # also what is as good, or NaN
            values = expected_top1(ahead.sum(dim=1), negatives.sum(dim=1))
            found |= {
                f"{name}-top1-{modality}": values[group.to(values.device)] for name, group in groups.items()
            }
        return {name: values for name, values in found.items() if len(values)}

    def _clips_of(self, movies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(clips,) movie and second of all usable clips of some movies."""
        asked = np.isin(np.arange(len(self._clips)), movies)[:, None]
        movie, clip = np.nonzero(asked & (self._clips != 0))
        return movie, clip

    def _negatives(self, samples: np.ndarray, movie: np.ndarray, clip: np.ndarray) -> np.ndarray:
        """(n, clips) bool: which clips stand against each sample's own."""
        found: np.ndarray = samples["movie"][:, None] == movie
        found &= samples["scene_split"][:, None] == self._clips[movie, clip]
        found &= np.abs(samples["clip"][:, None] - clip) >= self._learner.window
        return found


def expected_top1(ahead: Tensor, negatives: Tensor, pool: int = POOL) -> Tensor:
    """The probability that none of the ``ahead`` best negatives is among those drawn for a pool.

    Where there are fewer negatives than a pool has, all of them are in it.

    Parameters
    ----------
    negatives : (n,) int, how many there are
    ahead : (n,) int, how many of them are as good as the true one, or better

    Returns
    -------
    (n,) float64
    """
    found = torch.empty(len(negatives), dtype=torch.float64)
    for count in negatives.unique().tolist():
        first = rank_probabilities(count + 1, min(count + 1, pool))[:, 0]
        own = (negatives == count).cpu()
        found[own] = torch.from_numpy(first)[ahead.cpu()[own]]
    return found.to(negatives.device)


def overall(values: Mapping[str, float]) -> dict[str, float]:
    """``retrieval``: the mean over groups of the mean over stimuli; nothing if no group has a value."""
    of_groups = [
        [value for name, value in values.items() if name.startswith(f"{group}-")] for group in GROUPS
    ]
    means = [sum(group) / len(group) for group in of_groups if group]
    return {RETRIEVAL: sum(means) / len(means)} if means else {}
