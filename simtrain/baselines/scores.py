"""Windows of BOLD as their scores on main axes: each run is read, and each of its volumes projected, once.

A window's score is the sum over its frames of the product of a volume with that frame's part of the axis, and
windows a second apart share volumes. So what a model learns from scores, or is tested by, costs what BOLD
costs to read, however often windows are looked at: 1 kB of memory for each second of a run and hemisphere, of
256 axes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Self

import numpy as np
import torch
from torch import Tensor

from simtrain.baselines.courses import by_run
from simtrain.baselines.vertices import Volumes
from simtrain.data.feeds.batch import Asked, Batch
from simtrain.models.main_axes import Axes


class Scores:
    """Projects windows on main axes of windows, as they are asked for.

    Parameters
    ----------
    axes : of one group, whose columns are vertices, the frames of each together
    volumes : gives BOLD on the axes' device
    """

    def __init__(self, axes: Axes, volumes: Volumes, frames: int) -> None:
        deviation = axes.variance[0].sqrt().clamp(min=1e-12)
        scaled = axes.axes[0] / deviation[:, None]
        self._mean = scaled @ axes.mean[0]
        # (frames, vertices, k): the part of the axes that meets each of a window's volumes.
        self._parts = scaled.unflatten(1, (-1, frames)).permute(2, 1, 0).contiguous()
        self._volumes = volumes

    @torch.no_grad()
    def of(self, samples: np.ndarray) -> Tensor:
        """(n, k) float32 of ``samples`` (SAMPLE): with unit variance over the windows that axes are of."""
        found = self._parts.new_empty(len(samples), self._parts.shape[2])
        for rows in by_run(samples, "hemisphere"):
            subject, movie, hemisphere = samples[["subject", "movie", "hemisphere"]][rows[0]].tolist()
            second = samples["second"][rows]
            first, last = int(second.min()), int(second.max())
            volumes = self._volumes(subject, movie, hemisphere, range(first, last + len(self._parts)))
            starts = last - first + 1
            summed = sum(volumes[f : f + starts] @ part for f, part in enumerate(self._parts))
            found[torch.from_numpy(rows)] = summed[torch.from_numpy(second - first)] - self._mean
        return found


class ScoresFeed:
    """A `simtrain.data.feeds.Feed` whose batches have, in place of BOLD as stored, the scores of windows.

    Parameters
    ----------
    samples : (n,) SAMPLE, all that may be asked for
    scores : (n, k) of these
    """

    name = "scores"

    def __init__(self, samples: np.ndarray, scores: Tensor) -> None:
        self._sizes = tuple(int(samples[axis].max()) + 1 for axis in ("subject", "movie", "second"))
        code = self._code(samples)
        self._order = np.argsort(code)
        self._known, self._scores = code[self._order], scores

    def batches(self, asked: Asked, size: int) -> _Batches:
        return _Batches(asked, self)

    def __getitem__(self, samples: np.ndarray) -> Tensor:
        """(n, k) of ``samples`` (SAMPLE)."""
        place = self._order[np.searchsorted(self._known, self._code(samples))]
        return self._scores[torch.from_numpy(place)]

    def _code(self, samples: np.ndarray) -> np.ndarray:
        """(n,) int64: of the same BOLD the same, whatever clip it is held against."""
        axes = tuple(samples[axis] for axis in ("subject", "movie", "second", "hemisphere"))
        return np.ravel_multi_index(axes, (*self._sizes, 2))


class _Batches(AbstractContextManager["_Batches"]):
    """What is in memory is there at once."""

    waited = 0.0

    def __init__(self, asked: Asked, feed: ScoresFeed) -> None:
        self._asked, self._feed = asked, feed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        """Nothing is to be closed."""

    def __iter__(self) -> Iterator[Batch]:
        return (Batch(samples, self._feed[samples], note) for samples, note in self._asked)
