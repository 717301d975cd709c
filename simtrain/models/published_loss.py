"""The loss of SIM's published code (metrics-lab/sim at 8ce726e, ``clip-openai``), to the letter.

Every pair of modalities has symmetric InfoNCE with a scale that never changes: the code makes its temperature
anew at every step, as exp(1) for fMRI and video and exp(.5) for pairs with audio in three modalities, and as
exp(1) in two. Of three modalities, the weighted sum over pairs is divided by 6, the number of directions; of
two, it is the pair's loss. Windows that overlap in time are negatives there: that is ``loss.overlaps``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from simtrain.config.modalities import Pair, kind
from simtrain.models.losses import Contrastive, More
from simtrain.models.queue import Queued

SCALE_VIDEO, SCALE_AUDIO = 1.0, 0.5  # exponents, of three modalities
DIRECTIONS = 6  # of three modalities


class PublishedInfoNCE(Contrastive):
    """InfoNCE with the fixed scales of the published code.

    Parameters
    ----------
    weights : weight of each pair, not renormalised
    temperature : one for all pairs, in place of the published ones
    """

    first_temperature = 1 / torch.e
    learns_temperature = False

    def __init__(self, weights: Mapping[Pair, float], temperature: float | None = None) -> None:
        super().__init__(weights, temperature)
        self._given = temperature is not None
        self._three = len({modality for pair in weights for modality in pair}) > 2
        self._weights = {pair: weight for pair, weight in weights.items() if weight}

    def forward(
        self, embeddings: Mapping[str, Tensor], ignore: Tensor, queued: Queued | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `Contrastive.forward`, in the published proportions."""
        parts = {
            f"{one}-{other}": self.pair(
                self._relative((one, other)) * (embeddings[one] @ embeddings[other].T), ignore
            )
            for one, other in self._weights
        }
        shares = [weight * part for weight, part in zip(self._weights.values(), parts.values(), strict=True)]
        total = torch.stack(shares).sum()
        return (total / DIRECTIONS if self._three else total), parts

    def pair(self, similarity: Tensor, ignore: Tensor, more: More | None = None) -> Tensor:
        """Mean over both directions of the cross entropy of the diagonal."""
        logits = self.log_scale.exp() * similarity
        truth = torch.arange(len(logits), device=logits.device)
        directions = (logits.masked_fill(ignore, -torch.inf), logits.T.masked_fill(ignore.T, -torch.inf))
        there, back = (cross_entropy(values, truth) for values in directions)
        return (there + back) / 2

    def _relative(self, pair: Pair) -> float:
        """Scale of a pair beside that of fMRI and video."""
        if self._given or not self._three or "audio" not in map(kind, pair):
            return 1.0
        return float(torch.e ** (SCALE_AUDIO - SCALE_VIDEO))
