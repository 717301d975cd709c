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

from simtrain.config.modalities import Pair, kind
from simtrain.models.losses import Compared, FixedInfoNCE
from simtrain.models.queue import Queued

SCALE_VIDEO, SCALE_AUDIO = 1.0, 0.5  # exponents, of three modalities
DIRECTIONS = 6  # of three modalities


class PublishedInfoNCE(FixedInfoNCE):
    """InfoNCE with the fixed scales of the published code.

    Parameters
    ----------
    weights : weight of each pair; of three modalities, not renormalised
    temperature : one for all pairs, in place of the published ones
    """

    first_temperature = 1 / torch.e
    takes_queue = False

    def __init__(self, weights: Mapping[Pair, float], temperature: float | None = None) -> None:
        super().__init__(weights, temperature)
        three = len({modality for pair in weights for modality in pair}) > 2
        self._share = sum(weights.values()) / DIRECTIONS if three else 1.0
        self._audio = torch.e ** (SCALE_AUDIO - SCALE_VIDEO) if three and temperature is None else 1.0

    def forward(
        self,
        embeddings: Mapping[str, Tensor],
        ignore: Tensor,
        queued: Queued | None = None,
        compared: Compared | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `Contrastive.forward`, in the published proportions."""
        loss, parts = super().forward(embeddings, ignore, queued, compared)
        return self._share * loss, parts

    def similarity(self, embeddings: Mapping[str, Tensor], one: str, other: str) -> Tensor:
        """In units in which the scale of fMRI and video is that of all pairs."""
        found = super().similarity(embeddings, one, other)
        return self._audio * found if "audio" in (kind(one), kind(other)) else found
