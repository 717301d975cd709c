"""Stimulus features on the device, standardised as in training, or raw."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from simdata.common.errors import UserError
from simtrain.common.modules import ModulesByName
from simtrain.data.dataset import Embedding
from simtrain.data.windows import TRAIN

CONSTANT = 1e-6  # s.d. relative to the mean, under which a feature is rounding error: it is only centred


class Features(nn.Module):
    """The features of one embedding, (movie, second, feature) float32, and the mean and s.d. of each.

    The statistics are buffers, so that a checkpoint holds them and retrieval normalises exactly as training
    did. The features themselves are the store's, and not saved.

    Parameters
    ----------
    raw : the mean stays 0, and the s.d. 1
    """

    values: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, embedding: Embedding, raw: bool = False) -> None:
        super().__init__()
        self._raw = raw
        count = embedding.values.shape[-1]
        self._variable = embedding.variable
        self.register_buffer("values", torch.from_numpy(embedding.values), persistent=False)
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("std", torch.ones(count))

    def fit(self, chosen: Tensor) -> None:
        """Take the statistics over ``chosen`` (movie, second) bool.

        Raises
        ------
        UserError
            If no feature varies among several rows.
        """
        rows = self.values[chosen].double()
        mean, std = rows.mean(dim=0), rows.std(dim=0, correction=0)
        constant = std <= CONSTANT * mean.abs()
        if len(rows) > 1 and constant.all():
            raise UserError(
                f"{self._variable} is the same in all {len(rows)} clips of training scenes, so that it tells "
                "nothing of a clip: embed the films again, or leave it out (`modalities`)"
            )
        if self._raw:
            return
        self.mean.copy_(mean)
        self.std.copy_(torch.where(constant, 1.0, std))

    def forward(self, movie: Tensor, clip: Tensor) -> Tensor:
        """(n, features) float32."""
        return (self.values[movie, clip] - self.mean) / self.std


class Stimuli(nn.Module):
    """Looks up the features of clips, standardised or ``raw``, in every embedding."""

    def __init__(self, embeddings: Mapping[str, Embedding], raw: bool = False) -> None:
        super().__init__()
        self.features: ModulesByName[Features] = ModulesByName(
            {name: Features(one, raw) for name, one in embeddings.items()}
        )

    def fit(self, clips: np.ndarray) -> None:
        """Take the statistics of each feature over the clips of training scenes.

        Parameters
        ----------
        clips : (movies, seconds) as `simtrain.data.windows.clip_split` gives
        """
        chosen = torch.from_numpy(clips == TRAIN)
        for features in self.features.values():
            features.fit(chosen)

    def forward(self, movie: Tensor, clip: Tensor) -> dict[str, Tensor]:
        """(n, features) float32 of each modality for clips (n,) of movies (n,)."""
        return {name: features(movie, clip) for name, features in self.features.items()}
