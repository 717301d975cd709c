"""The projector of each modality into the common space (SIM: Dahan et al., ICLR 2025)."""

from __future__ import annotations

from torch import Tensor, nn


class Projector(nn.Module):
    """Linear, GELU, linear, dropout, a residual around all but the first, and a layer norm."""

    def __init__(self, features: int, dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.project = nn.Linear(features, dim)
        self.refine = nn.Sequential(nn.GELU(), nn.Linear(dim, dim), nn.Dropout(dropout))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., features) -> (..., dim)."""
        projected = self.project(x)
        return self.norm(projected + self.refine(projected))
