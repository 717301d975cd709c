"""Stimulus features on the device, standardised as in training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from simtrain.dataset import Embedding
from simtrain.windows import TRAIN

CONSTANT = 1e-6  # s.d. relative to the mean, under which a feature is rounding error: it is only centred


class Stimuli(nn.Module):
    """Looks up the standardised features of clips.

    The mean and s.d. of each feature are buffers, so that a checkpoint holds them and retrieval normalises
    exactly as training did. The features themselves are the store's, and not saved.
    """

    def __init__(self, embeddings: Mapping[str, Embedding]) -> None:
        super().__init__()
        self.modalities = tuple(embeddings)
        for modality, embedding in embeddings.items():
            features = embedding.values.shape[-1]
            self.register_buffer(modality, torch.from_numpy(embedding.values), persistent=False)
            self.register_buffer(f"{modality}_mean", torch.zeros(features))
            self.register_buffer(f"{modality}_std", torch.ones(features))

    def fit(self, clips: np.ndarray) -> None:
        """Take the statistics of each feature over the clips of training scenes.

        Parameters
        ----------
        clips : (movies, seconds) as `simtrain.windows.clip_split` gives
        """
        chosen = torch.from_numpy(clips == TRAIN)
        for modality in self.modalities:
            rows = getattr(self, modality)[chosen].double()
            mean, std = rows.mean(dim=0), rows.std(dim=0, correction=0)
            getattr(self, f"{modality}_mean").copy_(mean)
            getattr(self, f"{modality}_std").copy_(torch.where(std <= CONSTANT * mean.abs(), 1.0, std))

    def forward(self, movie: Tensor, clip: Tensor) -> dict[str, Tensor]:
        """(n, features) float32 of each modality for clips (n,) of movies (n,)."""
        return {
            modality: (getattr(self, modality)[movie, clip] - getattr(self, f"{modality}_mean"))
            / getattr(self, f"{modality}_std")
            for modality in self.modalities
        }
