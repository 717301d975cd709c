"""Masked autoencoder on cortical patches (He et al. 2022, arXiv 2111.06377).

What is masked depends on what a token is, which the encoder's ``temporal`` says:

* ``concat``, a token for each patch and frame. The encoder sees the visible tokens alone; by tubes, these are
  the same patches in all frames. With ``frame_positions: sequence`` and without a class token this is vsMAE
  (Dahan et al. 2024, arXiv 2308.05474; SIM, arXiv 2501.16471) as its code has it (models/vsmae.py of
  metrics-lab/surface-masked-autoencoders, commit e6128a0). That code itself, run once with random weights and
  vit-pytorch 1.2.9 and 1.7.0, gave the same predictions to 3e-6.
* ``channels``, a token for each patch over all frames: a model of our own, with a third of the tokens at
  three frames.

  By ``tubes``, a patch's token is left out of the encoder, which sees the other tokens alone.

  By ``random``, each frame hides patches of its own choice. Few patches are hidden in all frames, so the
  encoder sees every token (as in SimMIM, Xie et al. 2022), with 0 in place of the hidden frames, the mean of
  z-scored BOLD, and a learned vector per hidden frame added to the token. It costs about what training the
  encoder without masks does.

With ``summary``, a token that the encoder did not see begins with the mean of those that it saw, beside the
learned vector. Without, what visible patches tell reaches it through attention alone, which at first adds
next to nothing to a token of its place, and pretraining is slow to begin (docs/training.md has by how much).

Neighbouring patches share the vertices of their common edge, so some values of a hidden patch can be read
off a visible neighbour, as in the published method: at ico3, 24 of a patch's 45 vertices are on its edge.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from simtrain.models.masking import Mask
from simtrain.models.patch_decodings import make_decoding
from simtrain.models.positions import sincos_positions
from simtrain.models.sit import SiT, TransformerBlock, layer_norms


class MAE(nn.Module):
    """A surface vision transformer as the encoder, and a small transformer that predicts what is hidden.

    The encoder is a `SiT` like any other: its weights load into that of `simtrain fit`. The decoder has fixed
    positions of its own width, one for each token, which run through all frames where these have tokens of
    their own; as in the encoder, a class token has none.

    Parameters
    ----------
    frames : in a window; ``encoder`` takes patches of vertices * frames values
    kind : "tubes" or "random", the masks that will come
    dim, depth, heads, dim_head : of the decoder
    decoding, components : from its tokens to values (`simtrain.models.patch_decodings`)
    summary : whether hidden tokens begin with the mean of the visible ones
    """

    positions: Tensor

    def __init__(
        self,
        encoder: SiT,
        *,
        frames: int,
        kind: str,
        dim: int,
        depth: int,
        heads: int,
        dim_head: int,
        decoding: str = "linear",
        components: int = 0,
        summary: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.frames, self.summary = encoder, frames, summary
        self.apart = encoder.temporal == "concat"  # each frame has tokens of its own
        tokens, width = encoder.places.shape[1], encoder.dim
        if kind == "random" and not self.apart:
            self.missing = nn.Parameter(torch.randn(frames, width) * 0.02)
        else:
            # Of vsMAE as published, as are the layers that it leaves out or has twice.
            self.mask_token = nn.Parameter(torch.randn(1, 1, dim) * (1.0 if self.apart else 0.02))
        self.to_decoder = nn.Identity() if self.apart and width == dim else nn.Linear(width, dim)
        # Of a token for all frames, positions and predictions are the geometry's, whatever the encoder's are.
        stored = self.apart and encoder.order is not None
        self.register_buffer("positions", sincos_positions(tokens, dim), persistent=stored)
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, heads, dim_head, 4 * dim, 0.0) for _ in range(depth)
        )
        self.norm = layer_norms(dim, encoder.final_norms if self.apart else 1)
        per_patch = frames if self.apart else 1  # tokens
        self.patches, values = tokens // per_patch, encoder.patch_size // per_patch
        self.to_values = make_decoding(decoding, self.patches, dim, values, components)

    def forward(self, x: Tensor, mask: Mask) -> Tensor:
        """(batch, patches, patch_size) -> predictions of the same shape, for hidden and visible patches."""
        return self.decode(self.encode(x, mask), mask)

    def encode(self, x: Tensor, mask: Mask) -> Tensor:
        """Tokens (batch, n, dim) of the n that the encoder sees, behind the class token, if there is one."""
        places = self.encoder.places
        if mask.visible is None:
            return self.encoder.attend(self._embed_seen(x, mask.hidden) + places)
        places = places.expand(len(x), -1, -1)
        return self.encoder.attend(self._embed_visible(x, mask.visible) + _take(places, mask.visible))

    def decode(self, tokens: Tensor, mask: Mask) -> Tensor:
        """Tokens of `encode` -> values (batch, patches, patch_size)."""
        x, first = self.to_decoder(tokens), self.encoder.class_tokens
        class_token, x = x[:, :first], x[:, first:]
        if mask.visible is not None:
            x = self._with_mask_tokens(x, mask.visible)
        x = torch.cat([class_token, x + self.positions], dim=1)
        again = self.encoder.checkpointing and torch.is_grad_enabled()
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if again else block(x)
        values = self.to_values(self.norm(x[:, first:]).unflatten(1, (-1, self.patches))).flatten(1, 2)
        if not self.apart:
            return values
        return self.encoder.arranged_back(
            values.unflatten(1, (self.frames, -1)).permute(0, 2, 3, 1).flatten(2)
        )

    def _embed_visible(self, x: Tensor, visible: Tensor) -> Tensor:
        x = self.encoder.by_token(x)
        tokens = x.flatten(1, -2)
        if self.encoder.embed.shared:
            return self.encoder.embedded(_take(tokens, visible))
        # All of them, each at its place, but what is hidden is 0.
        seen = torch.zeros_like(tokens).scatter(1, _spread(visible, tokens), _take(tokens, visible))
        return _take(self.encoder.embedded(seen.view(x.shape)).flatten(1, -2), visible)

    def _embed_seen(self, x: Tensor, hidden: Tensor) -> Tensor:
        seen = x.unflatten(2, (-1, self.frames)) * ~hidden[:, :, None]
        return (
            self.encoder.embedded(self.encoder.by_token(seen.flatten(2)))
            + hidden.to(self.missing.dtype) @ self.missing
        )

    def _with_mask_tokens(self, x: Tensor, visible: Tensor) -> Tensor:
        tokens = self.mask_token.to(x.dtype).expand(len(x), self.positions.shape[1], -1)
        if self.summary:
            tokens = tokens + x.mean(dim=1, keepdim=True)
        return tokens.scatter(1, _spread(visible, x), x)


def masked_error(predicted: Tensor, target: Tensor, counted: Tensor, kind: str = "mse") -> Tensor:
    """Mean error, float32, over the values that are ``counted`` (bool, of the same shape).

    It is squared ("mse") or absolute ("l1").
    """
    difference = torch.where(counted, predicted.float() - target, 0.0)
    errors = difference.square() if kind == "mse" else difference.abs()
    return errors.sum() / counted.sum().clamp(min=1)


def patch_statistics(x: Tensor, cortex: Tensor) -> tuple[Tensor, Tensor]:
    """(..., 1) mean and s.d. of each patch, (..., values), over those in the cortex.

    As He et al., 1e-6 is added to the variance: a patch outside the cortex has mean 0 and nearly s.d. 0.
    """
    count = cortex.sum(dim=-1, keepdim=True).clamp(min=1)
    mean = torch.where(cortex, x, 0.0).sum(dim=-1, keepdim=True) / count
    variance = torch.where(cortex, x - mean, 0.0).square().sum(dim=-1, keepdim=True) / count
    return mean, (variance + 1e-6).sqrt()


def _take(tokens: Tensor, index: Tensor) -> Tensor:
    """(batch, tokens, dim), (batch, n) -> (batch, n, dim)."""
    return tokens.gather(1, _spread(index, tokens))


def _spread(index: Tensor, tokens: Tensor) -> Tensor:
    """(batch, n) -> (batch, n, dim), for every value of a token alike."""
    return index[..., None].expand(-1, -1, tokens.shape[2])
