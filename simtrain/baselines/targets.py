"""What ridge regression predicts: standardised stimulus embeddings, as they are or their main components."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from simtrain.data.dataset import Embedding
from simtrain.data.features import Stimuli
from simtrain.data.windows import TRAIN


class Targets:
    """Looks up targets of clips, with the targets of all modalities beside each other.

    Features are standardised over the clips of training scenes, as `Stimuli` does, and with ``components``
    projected on the principal axes of those clips.

    Attributes
    ----------
    columns : where the targets of each modality are
    """

    def __init__(
        self, embeddings: Mapping[str, Embedding], clips: np.ndarray, components: int | None = None
    ) -> None:
        self._stimuli = Stimuli(embeddings)
        self._stimuli.fit(clips)
        training = np.nonzero(clips == TRAIN)
        self._axes = {
            modality: principal_axes(values, components) if components else None
            for modality, values in self._standardised(*training).items()
        }
        self.columns, start = {}, 0
        for modality, values in self.embed(*(index[:1] for index in training)).items():
            self.columns[modality] = slice(start, start := start + values.shape[1])

    def embed(self, movie: np.ndarray, clip: np.ndarray) -> dict[str, np.ndarray]:
        """(n, targets) float32 of each modality for clips (n,) of movies (n,)."""
        return {
            modality: values if (axes := self._axes[modality]) is None else values @ axes.T
            for modality, values in self._standardised(movie, clip).items()
        }

    def of(self, movie: np.ndarray, clip: np.ndarray) -> np.ndarray:
        """(n, targets of all modalities) float32."""
        return np.concatenate(list(self.embed(movie, clip).values()), axis=1)

    def _standardised(self, movie: np.ndarray, clip: np.ndarray) -> dict[str, np.ndarray]:
        index = (torch.from_numpy(axis.astype(np.int64)) for axis in (movie, clip))
        return {modality: values.numpy() for modality, values in self._stimuli(*index).items()}


def principal_axes(values: np.ndarray, components: int) -> np.ndarray:
    """(components or fewer, features): unit-length axes of most variance, of centred rows."""
    _, _, axes = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    return axes[:components]
