"""Contrastive losses between pairs of modalities, all of them without false negatives.

InfoNCE with a learned temperature (CLIP: Radford et al. 2021, arXiv 2103.00020), with a fixed one (what SIM's
published code does: it makes its temperature anew at every step, so that it is never learned), and the
sigmoid loss (SigLIP: Zhai et al. 2023, arXiv 2303.15343).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid

from simtrain.models.queue import Queued

LARGEST_SCALE = 100.0  # as CLIP: a sharper softmax makes training unstable
FIRST_BIAS = -10.0  # as SigLIP: at first nearly all pairs are negatives


class More(NamedTuple):
    """(n, queue) similarities of a pair's rows and of its columns to what is queued of the other modality."""

    rows: Tensor
    columns: Tensor
    ignore: Tensor

    @classmethod
    def of(cls, embeddings: Mapping[str, Tensor], queued: Queued, one: str, other: str) -> More:
        rows = embeddings[one] @ queued.embeddings[other].T
        columns = embeddings[other] @ queued.embeddings[one].T
        return cls(rows, columns, queued.ignore)


class Contrastive(nn.Module):
    """The weighted mean of a loss over pairs of modalities.

    Parameters
    ----------
    weights : weight of each pair; renormalised to a sum of 1
    """

    log_scale: Tensor

    def __init__(self, weights: Mapping[tuple[str, str], float]) -> None:
        super().__init__()
        total = sum(weights.values())
        self.weights = {pair: weight / total for pair, weight in weights.items() if weight}

    @property
    def temperature(self) -> float:
        return float(torch.exp(-self.log_scale.detach()))

    def forward(
        self, embeddings: Mapping[str, Tensor], ignore: Tensor, queued: Queued | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """
        Parameters
        ----------
        embeddings : (n, dim) float32 of unit length for each modality
        ignore : (n, n) bool, pairs that are neither positive nor negative
        queued : more negatives, which InfoNCE takes

        Returns
        -------
        loss : scalar
        parts : the unweighted loss of each pair, named such as ``fmri-video``
        """
        parts = {}
        for one, other in self.weights:
            similarity = embeddings[one] @ embeddings[other].T
            more = None if queued is None else More.of(embeddings, queued, one, other)
            parts[f"{one}-{other}"] = self.pair(similarity, ignore, more)
        loss = sum(weight * part for weight, part in zip(self.weights.values(), parts.values(), strict=True))
        return loss, parts

    def pair(self, similarity: Tensor, ignore: Tensor, more: More | None = None) -> Tensor:
        """The loss of (n, n) cosine similarities whose diagonal are the positives.

        ``more``: to further negatives, as `forward` was given them
        """
        raise NotImplementedError


class InfoNCE(Contrastive):
    """Symmetric InfoNCE.

    Parameters
    ----------
    temperature : where the learned one begins, or the fixed one
    """

    def __init__(
        self, weights: Mapping[tuple[str, str], float], temperature: float, learned: bool = True
    ) -> None:
        super().__init__(weights)
        log_scale = torch.tensor(-math.log(temperature))
        if learned:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    def forward(
        self, embeddings: Mapping[str, Tensor], ignore: Tensor, queued: Queued | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if self.log_scale.requires_grad:
            with torch.no_grad():
                self.log_scale.clamp_(max=math.log(LARGEST_SCALE))
        return super().forward(embeddings, ignore, queued)

    def pair(self, similarity: Tensor, ignore: Tensor, more: More | None = None) -> Tensor:
        """Mean over rows and columns of the cross entropy of the diagonal, without the pairs to ignore."""
        directions = [(similarity, ignore), (similarity.T, ignore.T)]
        if more is not None:
            directions = [
                (torch.cat([within, beyond], dim=1), torch.cat([ignored, more.ignore], dim=1))
                for (within, ignored), beyond in zip(directions, (more.rows, more.columns), strict=True)
            ]
        truth = torch.arange(len(similarity), device=similarity.device)
        one, other = (
            cross_entropy((self.log_scale.exp() * values).masked_fill(ignored, -torch.inf), truth)
            for values, ignored in directions
        )
        return (one + other) / 2


class SigLIP(Contrastive):
    """The sigmoid loss: every pair is a yes or no of its own, with a learned scale and bias.

    Parameters
    ----------
    temperature : where the learned one begins
    """

    def __init__(self, weights: Mapping[tuple[str, str], float], temperature: float) -> None:
        super().__init__(weights)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.bias = nn.Parameter(torch.tensor(FIRST_BIAS))

    def pair(self, similarity: Tensor, ignore: Tensor, more: More | None = None) -> Tensor:
        """The sum over all pairs but those in ``ignore``, divided by the number of positives."""
        logits = self.log_scale.exp() * similarity + self.bias
        sign = 2 * torch.eye(len(logits), device=logits.device) - 1
        return -logsigmoid(sign * logits).masked_fill(ignore, 0.0).sum() / len(logits)


def contrastive(
    kind: str, weights: Mapping[tuple[str, str], float], temperature: float | None
) -> Contrastive:
    """The loss of a configuration; without a temperature, it begins at its publication's."""
    if kind == "siglip":
        return SigLIP(weights, 0.1 if temperature is None else temperature)
    return InfoNCE(weights, 0.07 if temperature is None else temperature, learned=kind == "infonce")


def false_negatives(movie: np.ndarray, second: np.ndarray, window: int) -> np.ndarray:
    """(n, n) bool: different samples of the same movie whose windows of ``window`` s overlap in time.

    That includes the same moment in another subject or in the other hemisphere.
    """
    same_movie = movie[:, None] == movie[None, :]
    overlap = np.abs(second[:, None].astype(np.int64) - second[None, :]) < window
    return same_movie & overlap & ~np.eye(len(movie), dtype=bool)
