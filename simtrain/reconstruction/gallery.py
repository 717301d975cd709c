"""The gallery: clips of the film whose pictures stand in for what was seen.

A target's gallery holds nothing of its own film clip, even where another movie shows that again, and nothing
that shares a moment with it; without its movie, nothing of that either. Targets that share a gallery form a
group: those of one movie, or of one film clip. The test-retest clip and rest are in no gallery.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from simdata.common.errors import UserError
from simtrain.data.dataset import Dataset
from simtrain.data.features import Stimuli
from simtrain.data.film_frames import read_frames
from simtrain.data.windows import TRAIN
from simtrain.models.learner import Learner
from simtrain.reconstruction.thumbnails import Thumbnails, must_suit_scores

EXCLUDE = ("movie", "scene")
SCENES = ("train", "all")
AT_ONCE = 4096  # clips embedded in one go


@dataclass(frozen=True)
class Clips:
    """Clips of the film, by movie and second.

    Attributes
    ----------
    movie, clip : (n,) int, the movie's position and the second at which the clip begins
    scene : (n,) int, the store's code of the film clip
    vectors : (n, dim) float32 of unit length: their video in the common space
    pictures : of the second in the middle of each clip
    """

    movie: np.ndarray
    clip: np.ndarray
    scene: np.ndarray
    vectors: np.ndarray
    pictures: Thumbnails

    def __len__(self) -> int:
        return len(self.movie)

    def __getitem__(self, rows: np.ndarray | slice) -> Clips:
        return Clips(
            self.movie[rows], self.clip[rows], self.scene[rows], self.vectors[rows], self.pictures[rows]
        )


def read_clips(
    learner: Learner,
    modality: str,
    dataset: Dataset,
    features: Stimuli,
    movie: np.ndarray,
    clip: np.ndarray,
    middle: int,
) -> Clips:
    """Clips of a store with what the model makes of their video.

    Parameters
    ----------
    modality : the learner's, of video
    features : by which pictures are compared; standardised, named by the store's variables
    middle : s from the beginning of a clip to the thumbnail that stands for it
    """
    parts = [slice(start, start + AT_ONCE) for start in range(0, len(movie), AT_ONCE)]
    with torch.no_grad():
        embedded = [learner.embed_clips(movie[part], clip[part])[modality].float().cpu() for part in parts]
        index = (torch.from_numpy(axis.astype(np.int64)) for axis in (movie, clip))
        compared = {name: values.numpy() for name, values in features(*index).items()}
    frames = read_frames(dataset, movie, clip + middle)
    must_suit_scores(frames, dataset)
    pictures = Thumbnails(frames, compared)
    return Clips(movie, clip, dataset.segment[movie, clip], torch.cat(embedded).numpy(), pictures)


def find_gallery(clips: np.ndarray, scenes: str) -> tuple[np.ndarray, np.ndarray]:
    """Movie and second of all clips of training scenes, or of all that are in a set.

    Parameters
    ----------
    clips : (movies, seconds) as `simtrain.data.windows.clip_split` gives
    """
    movie, clip = np.nonzero(clips == TRAIN if scenes == "train" else clips)
    return movie, clip


def groups(targets: Clips, exclude: str) -> list[np.ndarray]:
    """Positions of the targets that share a gallery, group by group."""
    _, group = np.unique(targets.movie if exclude == "movie" else targets.scene, return_inverse=True)
    return [np.flatnonzero(group == one) for one in range(group.max() + 1)]


def candidates(gallery: Clips, group: Clips, exclude: str, apart: int) -> np.ndarray:
    """(c,) positions in the gallery of what may stand in for every target of one group.

    Parameters
    ----------
    apart : s between the beginnings of clips of one movie that share no moment

    Raises
    ------
    UserError
        If there is nothing left.
    """
    kept = ~np.isin(gallery.scene, group.scene)
    for movie in np.unique(group.movie):
        here = gallery.movie == movie
        if exclude == "movie":
            kept &= ~here
        else:
            seconds = group.clip[group.movie == movie]
            distance = np.abs(gallery.clip[:, None].astype(np.int64) - seconds).min(axis=1)
            kept &= ~here | (distance >= apart)
    if not kept.any():
        raise UserError(
            f"the gallery is empty without the target's {exclude}: use `exclude` scene, or `gallery` all"
        )
    return np.flatnonzero(kept)


def look_up(
    queries: np.ndarray, vectors: np.ndarray, neighbours: int, temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    """The clips nearest to embeddings, nearest first, and their weights in a mean.

    Parameters
    ----------
    queries : (n, dim) of unit length
    vectors : (c, dim) of unit length
    neighbours : how many, or fewer if there are not so many
    temperature : of the softmax over their cosine similarities that gives the weights

    Returns
    -------
    index : (n, k) int64, positions in ``vectors``
    weight : (n, k) float32, with rows that sum to 1
    """
    similarity = torch.from_numpy(queries) @ torch.from_numpy(vectors).T
    best, index = similarity.topk(min(neighbours, len(vectors)), dim=1)
    return index.numpy(), (best / temperature).softmax(dim=1).numpy()
