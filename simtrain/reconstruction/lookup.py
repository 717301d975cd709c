"""All scores of one movie: what a lookup finds for every target, and what needs no BOLD."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from simtrain.reconstruction.gallery import Clips, candidates, groups, look_up
from simtrain.reconstruction.thumbnails import Thumbnails, compare

NEAREST, WEIGHTED, DECODED = "nearest", "weighted", "decoder"
PERFECT, MEAN, BEST = "perfect BOLD", "gallery mean", "gallery best"
WITHOUT_BOLD = (MEAN, PERFECT, BEST)


@dataclass(frozen=True)
class Lookup:
    """How a gallery is looked up.

    Attributes
    ----------
    apart : s between the beginnings of clips of one movie that share no moment
    neighbours, temperature : of the weighted mean
    """

    exclude: str
    apart: int
    neighbours: int
    temperature: float
    device: torch.device


@dataclass(frozen=True)
class Made:
    """What one subject's embeddings of one movie come to.

    Attributes
    ----------
    scores : by who made it and the name of the score, (n, n) float32: target j against what is made from
        row i when the gallery of j is looked up
    frames : by who made it, (n, y, x, 3): for every target from its own row
    nearest : (n, 2) int, movie and second of the nearest clip
    """

    scores: dict[tuple[str, str], np.ndarray]
    frames: dict[str, np.ndarray]
    nearest: np.ndarray


@dataclass(frozen=True)
class _Group:
    """Targets that share a gallery.

    Attributes
    ----------
    rows : (t,) their positions in the movie
    clips : the c clips of the gallery
    pairs : by the name of the score, (c, t) of every clip against every target
    mean : (1, t) of the mean of the gallery against every target
    """

    rows: np.ndarray
    clips: Clips
    pairs: Mapping[str, np.ndarray]
    mean: Mapping[str, np.ndarray]


class FilmLookup:
    """The targets of one movie, with the scores of everything in their galleries.

    Attributes
    ----------
    targets : the n clips, by time
    group : (n,) int, the same for those that share a gallery
    """

    def __init__(self, targets: Clips, gallery: Clips, lookup: Lookup) -> None:
        self.targets, self.group = targets, np.empty(len(targets), int)
        self._lookup, self._groups = lookup, []
        for number, rows in enumerate(groups(targets, lookup.exclude)):
            self.group[rows] = number
            clips = gallery[candidates(gallery, targets[rows], lookup.exclude, lookup.apart)]
            everything = np.arange(len(clips))[None]
            mean = clips.pictures.mixed(everything, np.full(everything.shape, 1 / len(clips), np.float32))
            pairs, of_mean = (self._compare(made, rows) for made in (clips.pictures, mean))
            self._groups.append(_Group(rows, clips, pairs, of_mean))

    @property
    def gallery_sizes(self) -> list[int]:
        return [len(group.clips) for group in self._groups]

    def look_up(self, embeddings: np.ndarray) -> Made:
        """Look up (n, dim) unit-length embeddings in the common space, one for every target."""
        count = len(self.targets)
        shape = (count, *self.targets.pictures.frames.shape[1:])
        frames = {NEAREST: np.empty(shape, np.uint8), WEIGHTED: np.empty(shape, np.float32)}
        made = Made({}, frames, np.empty((count, 2), int))
        for group in self._groups:
            clips = group.clips
            index, weight = look_up(
                embeddings, clips.vectors, self._lookup.neighbours, self._lookup.temperature
            )
            mixed, first = clips.pictures.mixed(index, weight), index[:, 0]
            weighted = self._compare(mixed, group.rows)
            for name, pairs in group.pairs.items():
                for maker, scores in ((NEAREST, pairs[first]), (WEIGHTED, weighted[name])):
                    table = made.scores.setdefault((maker, name), np.empty((count, count), np.float32))
                    table[:, group.rows] = scores
            own = first[group.rows]
            frames[NEAREST][group.rows] = clips.pictures.frames[own]
            frames[WEIGHTED][group.rows] = mixed.frames[group.rows]
            made.nearest[group.rows] = np.stack([clips.movie[own], clips.clip[own]], axis=1)
        return made

    def add_decoded(self, made: Made, frames: np.ndarray) -> None:
        """Pictures (n, y, x, 3) of a decoder: it knows no gallery, and has pixels only."""
        made.frames[DECODED] = frames
        scores = compare(Thumbnails(frames), self.targets.pictures, self._lookup.device)
        made.scores.update({(DECODED, name): table for name, table in scores.items()})

    def perfect(self) -> Made:
        """What BOLD that says all would find: by the targets' own video embeddings, the nearest clip."""
        made = self.look_up(self.targets.vectors)
        scores = {(PERFECT, name): table for (maker, name), table in made.scores.items() if maker == NEAREST}
        return Made(scores, {PERFECT: made.frames[NEAREST]}, made.nearest)

    def references(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """Who made it, the name of the score, and (n,) scores of what looks up nothing."""
        for name in self._groups[0].pairs:
            mean, best = np.empty((2, len(self.targets)), np.float32)
            for group in self._groups:
                mean[group.rows], best[group.rows] = group.mean[name][0], group.pairs[name].max(axis=0)
            yield MEAN, name, mean
            yield BEST, name, best

    def best(self, row: int, name: str) -> tuple[np.ndarray, float]:
        """The picture (y, x, 3) uint8 of the gallery with the largest score for one target, and its score."""
        group = self._groups[self.group[row]]
        scores = group.pairs[name][:, np.flatnonzero(group.rows == row)[0]]
        return group.clips.pictures.frames[scores.argmax()], float(scores.max())

    def _compare(self, made: Thumbnails, rows: np.ndarray) -> dict[str, np.ndarray]:
        return compare(made, self.targets.pictures[rows], self._lookup.device)
