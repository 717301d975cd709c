"""The embeddings of BOLD windows, each computed once however often it is looked up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simtrain.data.dataset import Dataset

PART = 4096  # windows embedded in one go: bounds what is on the device


class Bank:
    """Embeds windows of a store with a model, and keeps the result: 1.5 kB for each in 384 dimensions.

    Parameters
    ----------
    embed : from windows to (n, units, dim) float32, such as `simtrain.models.embeddings.embed_units` with a
        learner
    units : what of a window is tested: ``mean``, or hemispheres

    Attributes
    ----------
    units : as given
    """

    def __init__(
        self,
        embed: Callable[[np.ndarray], np.ndarray],
        dataset: Dataset,
        units: tuple[str, ...] = ("mean",),
    ) -> None:
        self._embed, self.units = embed, units
        self._shape = (*dataset.complete.shape, dataset.segment.shape[1])
        self._place = np.full(np.prod(self._shape), -1, dtype=np.int32)
        self._vectors: list[np.ndarray] = []

    def __len__(self) -> int:
        return sum(map(len, self._vectors))

    def add(self, windows: np.ndarray) -> None:
        """Embed those of ``windows`` (WINDOW) that are not there yet."""
        _, first = np.unique(self._index(windows), return_index=True)
        new = windows[first][self._place[self._index(windows[first])] < 0]
        for start in range(0, len(new), PART):
            part = new[start : start + PART]
            vectors = self._embed(part)
            self._place[self._index(part)] = len(self) + np.arange(len(part))
            self._vectors.append(vectors)

    def __getitem__(self, windows: np.ndarray) -> np.ndarray:
        """(n, units, dim) float32 of windows added before."""
        place, first = self._place[self._index(windows)], 0
        found = np.empty((len(windows), *self._vectors[0].shape[1:]), dtype=np.float32)
        for vectors in self._vectors:
            here = (place >= first) & (place < first + len(vectors))
            found[here] = vectors[place[here] - first]
            first += len(vectors)
        return found

    def _index(self, windows: np.ndarray) -> np.ndarray:
        """(n,) position in the table: the same BOLD has the same, whatever clip it is held against."""
        axes = tuple(windows[axis] for axis in ("subject", "movie", "second"))
        return np.ravel_multi_index(axes, self._shape)
