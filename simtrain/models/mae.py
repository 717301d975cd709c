"""Masked autoencoder on cortical patches (He et al. 2022, arXiv 2111.06377; vsMAE of SIM, arXiv 2501.16471).

The frames of a window are channels of the patch embedding: a token is a patch over all frames. So there are
two ways to mask, and they are not two names of one:

* ``tubes``: a patch is hidden in all frames, and its token is left out of the encoder, which sees the other
  tokens alone. The published vsMAE has a token for each patch and frame, and no class token: it hides the
  same patches in all frames, too, but is another model (docs/published.md).
* ``random``: each frame hides patches of its own choice. Few patches are hidden in all frames, so the encoder
  sees every token (as in SimMIM, Xie et al. 2022), with 0 in place of the hidden frames, the mean of
  z-scored BOLD, and a learned vector per hidden frame added to the token. It costs about what training the
  encoder without masks does.

Neighbouring patches share the vertices of their common edge, so some values of a hidden patch can be read
off a visible neighbour, as in the published method: at ico3, 24 of a patch's 45 vertices are on its edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from simtrain.common.counts import share_near
from simtrain.models.sit import SiT, TransformerBlock, sincos_positions


class Mask(NamedTuple):
    """What is hidden of a batch.

    Attributes
    ----------
    hidden : (batch, patches, frames) bool
    visible : (batch, visible patches) int64, ascending, for tubes; None if frames are masked each on its own
    """

    hidden: Tensor
    visible: Tensor | None


def draw_mask(
    kind: str, seeds: Sequence[int], patches: int, frames: int, ratio: float, device: torch.device
) -> Mask:
    """Hide the nearest number of patches to a share ``ratio``, the same number in every sample and frame.

    A sample's mask is a function of its seed, whatever the device and the rest of the batch.

    Parameters
    ----------
    kind : "tubes" or "random"
    seeds : one for each sample
    """
    batch, shown = len(seeds), patches - share_near(ratio, patches)
    draws = 1 if kind == "tubes" else frames
    noise = (torch.rand(draws, patches, generator=torch.Generator().manual_seed(seed)) for seed in seeds)
    # Stable, so that equal draws do not depend on the device.
    order = torch.stack(list(noise)).to(device).argsort(dim=2, stable=True)
    visible = order[..., :shown].sort(dim=2).values
    hidden = torch.ones(batch, draws, patches, dtype=torch.bool, device=device).scatter_(2, visible, False)
    hidden = hidden.transpose(1, 2).expand(batch, patches, frames)
    return Mask(hidden, visible[:, 0] if kind == "tubes" else None)


class MAE(nn.Module):
    """A surface vision transformer as the encoder, and a small transformer that predicts what is hidden.

    The encoder is a `SiT` like any other: its weights load into that of `simtrain fit`. The decoder has fixed
    positions of its own width; as in the encoder, the class token has none.

    Parameters
    ----------
    frames : in a window; ``encoder`` takes patches of vertices * frames values
    kind : "tubes" or "random", the masks that will come
    dim, depth, heads, dim_head : of the decoder
    """

    positions: Tensor

    def __init__(
        self, encoder: SiT, *, frames: int, kind: str, dim: int, depth: int, heads: int, dim_head: int
    ) -> None:
        super().__init__()
        patches, width = encoder.positions.shape[1], encoder.dim
        self.encoder, self.frames = encoder, frames
        if kind == "random":
            self.missing = nn.Parameter(torch.randn(frames, width) * 0.02)
        else:
            self.mask_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.to_decoder = nn.Linear(width, dim)
        self.register_buffer("positions", sincos_positions(patches, dim), persistent=False)
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, heads, dim_head, 4 * dim, 0.0) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.to_values = nn.Linear(dim, encoder.patch_size)

    def forward(self, x: Tensor, mask: Mask) -> Tensor:
        """(batch, patches, patch_size) -> predictions of the same shape, for hidden and visible patches."""
        return self.decode(self.encode(x, mask), mask)

    def encode(self, x: Tensor, mask: Mask) -> Tensor:
        """Tokens (batch, 1 + n, dim) of the n patches that the encoder sees, the class token first."""
        if mask.visible is None:
            return self.encoder.attend(self._embed_seen(x, mask.hidden) + self.encoder.positions)
        positions = self.encoder.positions.expand(len(x), -1, -1)
        return self.encoder.attend(self._embed_visible(x, mask.visible) + _take(positions, mask.visible))

    def decode(self, tokens: Tensor, mask: Mask) -> Tensor:
        """Tokens of `encode` -> values (batch, patches, patch_size)."""
        x = self.to_decoder(tokens)
        class_token, x = x[:, :1], x[:, 1:]
        if mask.visible is not None:
            x = self._with_mask_tokens(x, mask.visible)
        x = torch.cat([class_token, x + self.positions], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.to_values(self.norm(x[:, 1:]))

    def _embed_visible(self, x: Tensor, visible: Tensor) -> Tensor:
        x = self.encoder.arrange(x)
        if self.encoder.embed.shared:
            return self.encoder.embedded(_take(x, visible))
        # All of them, each at its place, but what is hidden is 0.
        seen = torch.zeros_like(x).scatter(1, _spread(visible, x), _take(x, visible))
        return _take(self.encoder.embedded(seen), visible)

    def _embed_seen(self, x: Tensor, hidden: Tensor) -> Tensor:
        seen = x.unflatten(2, (-1, self.frames)) * ~hidden[:, :, None]
        return (
            self.encoder.embedded(self.encoder.arrange(seen.flatten(2)))
            + hidden.to(self.missing.dtype) @ self.missing
        )

    def _with_mask_tokens(self, x: Tensor, visible: Tensor) -> Tensor:
        tokens = self.mask_token.to(x.dtype).expand(len(x), self.positions.shape[1], -1)
        return tokens.scatter(1, _spread(visible, x), x)


def masked_error(predicted: Tensor, target: Tensor, counted: Tensor) -> Tensor:
    """Mean squared error, float32, over the values that are ``counted`` (bool, of the same shape)."""
    squares = torch.where(counted, predicted.float() - target, 0.0).square()
    return squares.sum() / counted.sum().clamp(min=1)


def patch_statistics(x: Tensor, cortex: Tensor) -> tuple[Tensor, Tensor]:
    """(batch, patches, 1) mean and s.d. of each patch over its values in the cortex.

    As He et al., 1e-6 is added to the variance: a patch outside the cortex has mean 0 and nearly s.d. 0.
    """
    count = cortex.sum(dim=2, keepdim=True).clamp(min=1)
    mean = torch.where(cortex, x, 0.0).sum(dim=2, keepdim=True) / count
    variance = torch.where(cortex, x - mean, 0.0).square().sum(dim=2, keepdim=True) / count
    return mean, (variance + 1e-6).sqrt()


def _take(tokens: Tensor, index: Tensor) -> Tensor:
    """(batch, patches, dim), (batch, n) -> (batch, n, dim)."""
    return tokens.gather(1, _spread(index, tokens))


def _spread(index: Tensor, tokens: Tensor) -> Tensor:
    """(batch, n) -> (batch, n, dim), for every value of a token alike."""
    return index[..., None].expand(-1, -1, tokens.shape[2])
