"""Embeddings of recent batches as more negatives (``loss.queue``).

As in MoCo (He et al. 2020, arXiv 1911.05722), but made by the trained weights themselves, as in the
cross-batch memory of Wang et al. 2020 (arXiv 1912.06798): those of a few batches ago differ little. The
average of ``train.ema`` has no part in it: it is there to be tested, and its embeddings would take a second
pass of every batch, to stand beside those of other weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

MOMENT = ("movie", "second", "clip")  # of a sample: what decides whether it overlaps another
EMPTY = -1


class Queued(NamedTuple):
    """What a batch of n is compared with beside itself.

    Attributes
    ----------
    embeddings : (queue, dim) of unit length for each modality, without gradient
    ignore : (n, queue) bool: no negatives, for both modalities of a pair
    """

    embeddings: Mapping[str, Tensor]
    ignore: Tensor


class Queue(nn.Module):
    """The last ``size`` samples' embeddings of every modality; buffers, so that a checkpoint keeps them.

    Parameters
    ----------
    window : s; samples of one film that begin less than this apart, in BOLD or film, are no negatives
    film : (movies,) int, of the store (`simtrain.data.dataset.Dataset`)
    store : (movies,) int, which of several stores a movie is of; samples of another are no negatives
    """

    moments: Tensor
    place: Tensor
    store: Tensor | None

    def __init__(
        self,
        size: int,
        modalities: Iterable[str],
        dim: int,
        window: int,
        film: np.ndarray,
        store: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.size, self.window, self.modalities = size, window, tuple(modalities)
        self._film = film
        for modality in self.modalities:
            self.register_buffer(modality, torch.zeros(size, dim))
        self.register_buffer("moments", torch.full((size, len(MOMENT)), EMPTY))
        self.register_buffer("place", torch.tensor(0))
        self.register_buffer("store", None if store is None else torch.from_numpy(store), persistent=False)

    def forward(self, samples: np.ndarray) -> Queued:
        """What there is for ``samples`` (SAMPLE)."""
        moments = self._moments(samples)
        movie, second, clip = (moments[:, None] - self.moments).unbind(dim=2)
        overlap = (movie == 0) & ((second.abs() < self.window) | (clip.abs() < self.window))
        if self.store is not None:
            overlap |= self.store[moments[:, :1]] != self.store[self.moments[:, 0]]
        # Copies, since the batch takes the places of the oldest before its backward pass.
        embeddings = {modality: getattr(self, modality).clone() for modality in self.modalities}
        return Queued(embeddings, overlap | (self.moments[:, 0] == EMPTY))

    @torch.no_grad()
    def add(self, embeddings: Mapping[str, Tensor], samples: np.ndarray) -> None:
        """Let a batch take the places of the oldest; of one that is larger than the queue, its last ones."""
        count = min(len(samples), self.size)
        index = (self.place + torch.arange(count, device=self.place.device)) % self.size
        for modality in self.modalities:
            getattr(self, modality)[index] = embeddings[modality][-count:].detach().float()
        self.moments[index] = self._moments(samples[-count:])
        self.place.add_(count).remainder_(self.size)

    def _moments(self, samples: np.ndarray) -> Tensor:
        moments = np.stack([samples[field].astype(np.int64) for field in MOMENT], axis=1)
        moments[:, 0] = self._film[moments[:, 0]]
        return torch.from_numpy(moments).to(self.moments.device, non_blocking=True)
