"""Surface vision transformer (SiT: Dahan et al. 2022, MIDL, arXiv 2203.16414)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from simdata.common.errors import UserError
from simtrain.common.modules import Modules
from simtrain.models.patch_embeddings import Linear, PatchEmbedding


class SiT(nn.Module):
    """Patch embedding, a class token, fixed positions, pre-norm transformer blocks, final norm.

    Parameters
    ----------
    patches, patch_size : number of patches, and values in one (vertices x frames)
    pool : "mean" of the patch tokens, or the class token "cls"
    final_norms : 2 where published weights have two layer norms in a row at the end
    layout : "stored" keeps the positions, and the order of the values in each patch, with the weights
    frames : in a window
    temporal : the frames of a patch are "channels" of one token, as published; or each frame has tokens of
        its own, and all of them, told apart by a learned embedding, are one sequence ("concat"), or those of
        each frame one, and the results are averaged ("average")
    embedding : makes the patch embedding from its sizes, as its class does
    checkpointing : work each block out again in the backward pass instead of keeping its activations
    """

    positions: Tensor
    order: Tensor | None

    def __init__(
        self,
        *,
        patches: int,
        patch_size: int,
        dim: int,
        depth: int,
        heads: int,
        dim_head: int = 64,
        mlp_ratio: int = 4,
        pool: str = "mean",
        dropout: float = 0.0,
        final_norms: int = 1,
        layout: str = "geometry",
        frames: int = 1,
        temporal: str = "channels",
        embedding: Callable[..., PatchEmbedding] = Linear,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.pool, self.frames, self.temporal, self.checkpointing = pool, frames, temporal, checkpointing
        self.patch_size, self.dim = patch_size, dim
        of_token = frames if temporal == "channels" else 1
        self.embed = embedding(patches=patches, vertices=patch_size // frames, frames=of_token, dim=dim)
        self.class_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        if temporal == "concat":
            self.frame_embedding = nn.Parameter(torch.randn(frames, 1, dim) * 0.02)
        stored = layout == "stored"
        self.register_buffer("positions", sincos_positions(patches, dim), persistent=stored)
        self.register_buffer("order", torch.arange(patch_size).repeat(patches, 1) if stored else None)
        self.blocks: Modules[TransformerBlock] = Modules(
            TransformerBlock(dim, heads, dim_head, mlp_ratio * dim, dropout) for _ in range(depth)
        )
        norms = [nn.LayerNorm(dim) for _ in range(final_norms)]
        self.norm = norms[0] if final_norms == 1 else nn.Sequential(*norms)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, patches, patch_size) -> (batch, dim)."""
        tokens = self.tokens(x)
        return tokens[:, 0] if self.pool == "cls" else tokens[:, 1:].mean(dim=1)

    def tokens(self, x: Tensor) -> Tensor:
        """(batch, patches, patch_size) -> (batch, 1 + patches, dim), the class token first.

        With "concat", there are 1 + frames * patches.
        """
        tokens = self.embedded(self._of_tokens(x)) + self.positions
        if self.temporal == "channels":
            return self.attend(tokens)
        if self.temporal == "concat":
            return self.attend((tokens + self.frame_embedding).flatten(1, 2))
        return self.attend(tokens.flatten(0, 1)).unflatten(0, (-1, self.frames)).mean(dim=1)

    def fit(self, blocks: Callable[[], Iterable[Tensor]]) -> None:
        """Let the patch embedding take what it has to know of training windows.

        Parameters
        ----------
        blocks : gives windows (n, patches, patch_size), n at a time, as often as it is called
        """
        self.embed.fit(lambda: (self._of_tokens(block).flatten(0, -3) for block in blocks()))

    def arrange(self, x: Tensor) -> Tensor:
        """(batch, patches, patch_size) as the geometry has them -> in the order that `embed` takes."""
        return x if self.order is None else x.gather(2, self.order.expand(len(x), -1, -1))

    def _of_tokens(self, x: Tensor) -> Tensor:
        """(batch, patches, patch_size) -> (batch, [frames,] patches, values of a token)."""
        x = self.arrange(x)
        if self.temporal == "channels":
            return x
        return x.unflatten(2, (-1, self.frames)).permute(0, 3, 1, 2)

    def embedded(self, x: Tensor) -> Tensor:
        """(..., patches, values of a token) as `arrange` gives them -> (..., patches, dim).

        Raises
        ------
        UserError
            If the patch embedding gives something else.
        """
        tokens, shape = self.embed(x), (*x.shape[:-1], self.dim)
        if not isinstance(tokens, Tensor) or tokens.shape != shape:
            found = tuple(tokens.shape) if isinstance(tokens, Tensor) else type(tokens).__name__
            raise UserError(
                f"patch embedding {type(self.embed).__name__}: gave {found} for {tuple(x.shape)}, not {shape}"
            )
        return tokens

    def attend(self, x: Tensor) -> Tensor:
        """Any n patch tokens with positions, (batch, n, dim) -> (batch, 1 + n, dim), class token first."""
        # The class token has no position of its own, as published.
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1)
        again = self.checkpointing and torch.is_grad_enabled()
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if again else block(x)
        return self.norm(x)


class TransformerBlock(nn.Module):
    """Pre-norm transformer block: attention and MLP, each with a residual."""

    def __init__(self, dim: int, heads: int, dim_head: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(dim, heads, dim_head, dropout)
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.mlp(x)


class Attention(nn.Module):
    """Multi-head self-attention of normalised tokens; heads have ``dim_head`` whatever ``dim`` is."""

    def __init__(self, dim: int, heads: int, dim_head: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * heads * dim_head, bias=False)
        self.out = nn.Sequential(nn.Linear(heads * dim_head, dim), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, dim) -> the same shape."""
        batch, tokens, _ = x.shape
        qkv = self.qkv(self.norm(x)).view(batch, tokens, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, -1))


def sincos_positions(count: int, dim: int) -> Tensor:
    """(1, count, dim) fixed 1-D positions (Vaswani et al. 2017): sines, then cosines."""
    frequencies = 10_000.0 ** -(torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    angles = torch.arange(count, dtype=torch.float64)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()[None]
