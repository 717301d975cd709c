"""Stimulus features on the device, standardised as in training, or raw."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from simdata.common.errors import UserError
from simtrain.common.modules import ModulesByName
from simtrain.data.dataset import Embedding
from simtrain.data.windows import TRAIN

STATISTICS = re.compile(r"stimuli\.features\..*\.(mean|std)")  # in a learner's weights
CONSTANT = 1e-6  # s.d. relative to the mean, under which a feature is rounding error: it is only centred


class Features(nn.Module):
    """The features of one embedding, (movie, second, feature) float32, and the mean and s.d. of each.

    The statistics are buffers, so that a checkpoint holds them and retrieval normalises exactly as training
    did. The features themselves are the store's, and not saved. Of several stores, each has statistics of its
    own, and behind them are those of all together, for stores that were not trained on.

    Parameters
    ----------
    raw : the mean stays 0, and the s.d. 1
    store : (movies,) int, which of several stores a movie is of; None: there is but one
    """

    values: Tensor
    mean: Tensor
    std: Tensor
    store: Tensor | None

    def __init__(self, embedding: Embedding, raw: bool = False, store: np.ndarray | None = None) -> None:
        super().__init__()
        self._raw = raw
        count = embedding.values.shape[-1]
        shape = (count,) if store is None else (int(store.max()) + 2, count)
        self._variable = embedding.variable
        self.register_buffer("values", torch.from_numpy(embedding.values), persistent=False)
        self.register_buffer("store", None if store is None else torch.from_numpy(store), persistent=False)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    def fit(self, chosen: Tensor, shares: np.ndarray | None = None) -> None:
        """Take the statistics over ``chosen`` (movie, second) bool.

        Parameters
        ----------
        shares : (stores,) of sum 1, the weights of several stores in what is of all together

        Raises
        ------
        UserError
            If no feature varies among several rows.
        """
        if self.store is None:
            self._keep(*self._statistics(chosen), ...)
            return
        assert shares is not None
        own = [self._statistics(chosen & (self.store == number)[:, None]) for number in range(len(shares))]
        for number, (mean, std) in enumerate(own):
            self._keep(mean, std, number)
        means, stds = (torch.stack(part) for part in zip(*own, strict=True))
        weights = torch.from_numpy(shares)[:, None]
        mean = (weights * means).sum(dim=0)
        variance = (weights * (stds.square() + (means - mean).square())).sum(dim=0)
        self._keep(mean, variance.sqrt(), -1)

    def _statistics(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and s.d. of each feature over rows, float64."""
        rows = self.values[chosen].double()
        mean, std = rows.mean(dim=0), rows.std(dim=0, correction=0)
        if len(rows) > 1 and (std <= CONSTANT * mean.abs()).all():
            raise UserError(
                f"{self._variable} is the same in all {len(rows)} clips of training scenes, so that it tells "
                "nothing of a clip: embed the films again, or leave it out (`modalities`)"
            )
        return mean, std

    def _keep(self, mean: Tensor, std: Tensor, row: Any) -> None:
        if not self._raw:
            self.mean[row] = mean.float()
            self.std[row] = torch.where(std <= CONSTANT * mean.abs(), 1.0, std).float()

    def forward(self, movie: Tensor, clip: Tensor) -> Tensor:
        """(n, features) float32."""
        own = ... if self.store is None else self.store[movie]
        return (self.values[movie, clip] - self.mean[own]) / self.std[own]


class Stimuli(nn.Module):
    """Looks up the features of clips, standardised or ``raw``, in every embedding.

    Parameters
    ----------
    store : (movies,) int, which of several stores a movie is of, each of which has its own statistics
    """

    def __init__(
        self, embeddings: Mapping[str, Embedding], raw: bool = False, store: np.ndarray | None = None
    ) -> None:
        super().__init__()
        self.features: ModulesByName[Features] = ModulesByName(
            {name: Features(one, raw, store) for name, one in embeddings.items()}
        )

    def fit(self, clips: np.ndarray, shares: np.ndarray | None = None) -> None:
        """Take the statistics of each feature over the clips of training scenes.

        Parameters
        ----------
        clips : (movies, seconds) as `simtrain.data.windows.clip_split` gives
        shares : (stores,) of sum 1, the weights of several stores
        """
        chosen = torch.from_numpy(clips == TRAIN)
        for features in self.features.values():
            features.fit(chosen, shares)

    def forward(self, movie: Tensor, clip: Tensor) -> dict[str, Tensor]:
        """(n, features) float32 of each modality for clips (n,) of movies (n,)."""
        return {name: features(movie, clip) for name, features in self.features.items()}


def of_one_store(weights: Mapping[str, Tensor], store: int | None) -> dict[str, Tensor]:
    """The weights of a learner of several stores as those of one, to be tested on it.

    Parameters
    ----------
    store : which one; None: one that was not trained on, whose features have the statistics of all together
    """
    row = -1 if store is None else store
    return {
        name: values[row] if STATISTICS.fullmatch(name) and values.ndim == 2 else values
        for name, values in weights.items()
    }
