"""What training leaves out by chance, so that a model relies on none of it alone.

* Drop path, or stochastic depth (Huang et al. 2016, arXiv 1603.09382): a sample passes by a block's attention
  or MLP. As in timm, the rate rises evenly from 0 at the first block to its highest at the last, and what is
  not passed by is scaled up.
* Stimulus dropout: features of a clip are 0, their mean over training clips, and the others are scaled up.
* Modality dropout: a stimulus modality of a sample has no part in the loss, neither as its pair nor as a
  negative of others. One of them always remains. (In TRIBE, d'Ascoli et al. 2025, arXiv 2507.22229, what is
  dropped is an input that is merged with others; here it is a target, and so is left out of the comparison.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from simtrain.config.schema import Config
from simtrain.models.draws import SampleDraws

BRANCHES = 2  # of a block: attention and MLP


class LeftOut(NamedTuple):
    """How much of what is left out: shares, of which 0 is nothing."""

    drop_path: float
    stimulus_dropout: float
    modality_dropout: float

    @classmethod
    def of(cls, config: Config) -> LeftOut:
        """As a configuration has it."""
        return cls(config.model.drop_path, config.projector.stimulus_dropout, config.loss.modality_dropout)

    def paths(
        self, samples: np.ndarray, draws: SampleDraws, depth: int, device: torch.device
    ) -> Tensor | None:
        """(n, depth, 2) float32: factors of what attention and MLP of each block add; None: all are 1."""
        if not self.drop_path:
            return None
        drawn = draws.uniform(samples, "drop path", depth * BRANCHES, device).view(-1, depth, BRANCHES)
        rates = torch.linspace(0, self.drop_path, depth, device=device)[:, None]
        return (drawn >= rates) / (1 - rates)

    def thinned(
        self, features: Mapping[str, Tensor], samples: np.ndarray, draws: SampleDraws
    ) -> dict[str, Tensor]:
        """(n, features) of each stimulus modality, some of them 0."""
        rate = self.stimulus_dropout
        if not rate:
            return dict(features)
        return {
            name: values
            * (draws.uniform(samples, f"stimulus {name}", values.shape[1], values.device) >= rate)
            / (1 - rate)
            for name, values in features.items()
        }

    def compared(
        self, samples: np.ndarray, draws: SampleDraws, stimuli: tuple[str, ...], device: torch.device
    ) -> dict[str, Tensor] | None:
        """(n,) bool of each stimulus modality: which samples have it in the loss; None: all."""
        if not self.modality_dropout:
            return None
        drawn = draws.uniform(samples, "modality", len(stimuli), device)
        kept = (drawn >= self.modality_dropout) | (drawn == drawn.max(dim=1, keepdim=True).values)
        return dict(zip(stimuli, kept.T, strict=True))
