"""What a model sees of BOLD around its windows: the mean of each patch, second by second."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from simtrain.config.resolved import ResolvedConfig
from simtrain.data.collection import open_reader
from simtrain.data.dataset import Dataset
from simtrain.data.surroundings import Surroundings
from simtrain.data.windows import SAMPLE
from simtrain.models.input import FramePatches

BLOCK = 64  # s of a run that are decoded at once


class Context(NamedTuple):
    """Time courses around the windows of a batch.

    Attributes
    ----------
    courses : (n, seconds, patches) float32; 0 where a second is not seen
    seen : (n, seconds) bool, as `simtrain.data.surroundings` has it
    """

    courses: Tensor
    seen: Tensor


class ContextCourses:
    """Gives samples their `Context`, whatever feed the windows themselves come from.

    A run is read, and reduced to the means over its patches' vertices with data of BOLD as ``data.normalise``
    has it, when a sample of it first comes. It then stays in the memory of the host: 4 bytes for each run,
    hemisphere, second and patch (1.6 GB of the HCP release at ico 2).

    Attributes
    ----------
    patches : of a hemisphere
    surroundings : which seconds are seen
    nbytes : of all runs of the store
    """

    def __init__(self, dataset: Dataset, config: ResolvedConfig) -> None:
        self.surroundings = Surroundings.of(dataset, config)
        vertices = dataset.patches(config.context.ico)
        self.patches = len(vertices)
        self._frames = FramePatches.of(dataset, config, vertices)
        self._vertices = torch.from_numpy(vertices)
        self._reader, self._volumes = open_reader(dataset), dataset.volumes
        self._runs: dict[tuple[int, int, int], np.ndarray] = {}
        seconds = int((dataset.complete * dataset.volumes).sum()) * len(config.data.sides)
        self.nbytes = 4 * self.patches * seconds

    @classmethod
    def of(cls, dataset: Dataset, config: ResolvedConfig) -> ContextCourses | None:
        """That of a configuration; None if its windows have no context."""
        return cls(dataset, config) if config.context.seconds else None

    def of_samples(self, samples: np.ndarray, device: torch.device) -> Context:
        """The context of ``samples`` (SAMPLE), on a device."""
        at, seen = self.surroundings.of_samples(samples)
        runs = samples[["subject", "movie", "hemisphere"]].tolist()
        courses = np.stack([self._run(run)[seconds] for run, seconds in zip(runs, at, strict=True)])
        courses[~seen] = 0
        return Context(*(torch.from_numpy(part).to(device, non_blocking=True) for part in (courses, seen)))

    def _run(self, run: tuple[int, int, int]) -> np.ndarray:
        """(volumes, patches) float32 of a subject, movie and hemisphere."""
        if run not in self._runs:
            self._runs[run] = self._read(*run)
        return self._runs[run]

    @torch.no_grad()
    def _read(self, subject: int, movie: int, hemisphere: int) -> np.ndarray:
        volumes = int(self._volumes[movie])
        stored = self._reader.read(np.array([[subject, movie, 0, hemisphere]]), volumes)
        sample = np.zeros(1, SAMPLE)
        sample["subject"], sample["movie"], sample["hemisphere"] = subject, movie, hemisphere
        blocks = torch.from_numpy(stored[0][:, None]).split(BLOCK)
        return torch.cat([self._means(sample.repeat(len(block)), block) for block in blocks]).numpy()

    def _means(self, samples: np.ndarray, stored: Tensor) -> Tensor:
        """(n, patches) of single frames (n, 1, vertices); 0 where a patch has no data."""
        side = torch.from_numpy(samples["hemisphere"].astype(np.int64))
        counted = self._frames.with_data(stored, side)[:, self._vertices].sum(dim=2)
        return self._frames.of_samples(samples, stored).sum(dim=2) / counted.clamp(min=1)
