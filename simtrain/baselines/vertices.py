"""Time courses of every vertex of the cortex, as ``data.normalise`` has them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from simdata.store import BoldReader
from simtrain.config.resolved import ResolvedConfig
from simtrain.data.dataset import Dataset
from simtrain.data.scan_rows import ScanEnds
from simtrain.data.windows import SAMPLE
from simtrain.models.input import FramePatches


def whole_hemisphere(dataset: Dataset, config: ResolvedConfig) -> FramePatches:
    """BOLD as ``data.normalise`` has it, with all vertices as one patch."""
    return FramePatches.of(dataset, config, np.arange(dataset.cortex.shape[1])[None])


class Volumes:
    """Stretches of runs, read from a store when they are asked for, and not kept.

    Parameters
    ----------
    config : its ``data.normalise``
    """

    def __init__(self, dataset: Dataset, config: ResolvedConfig, device: torch.device) -> None:
        self._reader, self._device = BoldReader(dataset.path), device
        self._frames = whole_hemisphere(dataset, config).to(device)

    def __call__(self, subject: int, movie: int, hemisphere: int, seconds: range) -> Tensor:
        """(seconds, vertices) float32 on the device; 0 outside the cortex, and where there are no data."""
        samples = np.zeros(len(seconds), SAMPLE)
        samples["subject"], samples["movie"], samples["hemisphere"] = subject, movie, hemisphere
        samples["second"] = seconds
        stored = self._reader.read(np.array([[subject, movie, seconds.start, hemisphere]]), len(seconds))[0]
        # As windows of one volume each: what lies where is the same in all of a run.
        return self._frames.of_samples(samples, torch.from_numpy(stored[:, None]).to(self._device))[:, 0]


class VertexCourses:
    """The vertices' time courses of runs, read from a store when they are asked for, and not kept.

    Parameters
    ----------
    config : its ``data.normalise``
    hemispheres : positions of those whose vertices to take

    Attributes
    ----------
    features : number of vertices of the cortex, L and then R
    ends : of the runs' scans
    """

    def __init__(self, dataset: Dataset, config: ResolvedConfig, hemispheres: Sequence[int]) -> None:
        self._volumes = Volumes(dataset, config, torch.device("cpu"))
        self._lengths = dataset.volumes
        self.ends = ScanEnds(dataset)
        self._cortex = {side: np.flatnonzero(dataset.cortex[side]) for side in hemispheres}
        self.features = sum(map(len, self._cortex.values()))

    def run(self, subject: int, movie: int) -> np.ndarray:
        """(volumes, features) float32; 0 where a vertex has no data."""
        seconds = range(int(self._lengths[movie]))
        sides = [
            self._volumes(subject, movie, side, seconds).numpy()[:, cortex]
            for side, cortex in self._cortex.items()
        ]
        return np.concatenate(sides, axis=1)
