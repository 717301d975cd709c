"""Time courses of every vertex of the cortex, as ``data.normalise`` has them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from simdata.store import BoldReader
from simtrain.baselines.pca import whole_hemisphere
from simtrain.config.resolved import ResolvedConfig
from simtrain.data.dataset import Dataset
from simtrain.data.windows import SAMPLE


class VertexCourses:
    """The vertices' time courses of runs, read from a store when they are asked for, and not kept.

    Parameters
    ----------
    config : its ``data.normalise``
    hemispheres : positions of those whose vertices to take

    Attributes
    ----------
    features : number of vertices of the cortex, L and then R
    """

    def __init__(self, dataset: Dataset, config: ResolvedConfig, hemispheres: Sequence[int]) -> None:
        self._reader, self._volumes = BoldReader(dataset.path), dataset.volumes
        self._frames = whole_hemisphere(dataset, config)
        self._cortex = {side: np.flatnonzero(dataset.cortex[side]) for side in hemispheres}
        self.features = sum(map(len, self._cortex.values()))

    def run(self, subject: int, movie: int) -> np.ndarray:
        """(volumes, features) float32; 0 where a vertex has no data."""
        volumes = int(self._volumes[movie])
        sides = [self._side(subject, movie, side, volumes) for side in self._cortex]
        return np.concatenate(sides, axis=1)

    def _side(self, subject: int, movie: int, side: int, volumes: int) -> np.ndarray:
        sample = np.zeros(1, SAMPLE)
        sample["subject"], sample["movie"], sample["hemisphere"] = subject, movie, side
        stored = self._reader.read(np.array([[subject, movie, 0, side]]), volumes)
        values = self._frames.of_samples(sample, torch.from_numpy(stored))
        return values.reshape(-1, volumes).numpy()[self._cortex[side]].T
