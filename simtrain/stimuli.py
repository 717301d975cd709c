"""Stimulus features on the device, standardised as in training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from simtrain.dataset import Embedding
from simtrain.windows import TRAIN

CONSTANT = 1e-6  # s.d. relative to the mean, under which a feature is rounding error: it is only centred


class Features(nn.Module):
    """The features of one embedding, (movie, second, feature) float32, and the mean and s.d. of each.

    The statistics are buffers, so that a checkpoint holds them and retrieval normalises exactly as training
    did. The features themselves are the store's, and not saved.
    """

    def __init__(self, embedding: Embedding) -> None:
        super().__init__()
        count = embedding.values.shape[-1]
        self.register_buffer("values", torch.from_numpy(embedding.values), persistent=False)
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("std", torch.ones(count))

    def fit(self, chosen: Tensor) -> None:
        """Take the statistics over ``chosen`` (movie, second) bool."""
        rows = self.values[chosen].double()
        mean, std = rows.mean(dim=0), rows.std(dim=0, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std <= CONSTANT * mean.abs(), 1.0, std))

    def forward(self, movie: Tensor, clip: Tensor) -> Tensor:
        """(n, features) float32."""
        return (self.values[movie, clip] - self.mean) / self.std


class Stimuli(nn.Module):
    """Looks up the standardised features of clips, in every embedding."""

    def __init__(self, embeddings: Mapping[str, Embedding]) -> None:
        super().__init__()
        self.features = nn.ModuleDict({name: Features(one) for name, one in embeddings.items()})

    def fit(self, clips: np.ndarray) -> None:
        """Take the statistics of each feature over the clips of training scenes.

        Parameters
        ----------
        clips : (movies, seconds) as `simtrain.windows.clip_split` gives
        """
        chosen = torch.from_numpy(clips == TRAIN)
        for features in self.features.values():
            features.fit(chosen)

    def forward(self, movie: Tensor, clip: Tensor) -> dict[str, Tensor]:
        """(n, features) float32 of each modality for clips (n,) of movies (n,)."""
        return {name: features(movie, clip) for name, features in self.features.items()}
