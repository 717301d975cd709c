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
from simtrain.models.positions import harmonic_positions, sincos_positions

ONE_TOKEN = ("channels", "mean_frame")  # values of `temporal` by which a patch has one token in a window


class SiT(nn.Module):
    """Patch embedding, a class token, positions, pre-norm transformer blocks, final norm.

    Parameters
    ----------
    patches, patch_size : number of patches, and values in one (vertices x frames)
    pool : "mean" of the patch tokens, or the class token "cls"
    class_token : whether there is one, before the patch tokens
    final_norms : 2 where published weights have two layer norms in a row at the end
    layout : "stored" keeps the positions, and the order of the values in each patch, with the weights
    frames : in a window
    temporal : the frames of a patch are "channels" of one token; or each frame has tokens of its own, and all
        of them are one sequence ("concat"), or those of each frame one, and the results are averaged
        ("average"); or the mean of the frames is given as if it were one ("mean_frame")
    frame_positions : with "concat", the tokens of a patch are told apart by a "learned" embedding of their
        frame, or by fixed positions that run through the whole "sequence", frame after frame
    positions : of patches: "sincos", fixed; "learned"; or "geometric", a learned linear map of spherical
        harmonics of their centres up to ``degree`` (`simtrain.models.positions`)
    attention : whether tokens see each other; without it, a block is an MLP of each token by itself
    embedding : makes the patch embedding from its sizes, as its class does
    checkpointing : work each block out again in the backward pass instead of keeping its activations

    Attributes
    ----------
    class_tokens : how many tokens stand before those of patches, 1 or 0
    """

    positions: Tensor
    order: Tensor | None
    class_token: nn.Parameter | None
    frame_embedding: nn.Parameter | None

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
        class_token: bool = True,
        dropout: float = 0.0,
        final_norms: int = 1,
        layout: str = "geometry",
        frames: int = 1,
        temporal: str = "channels",
        frame_positions: str = "learned",
        positions: str = "sincos",
        degree: int = 6,
        attention: bool = True,
        embedding: Callable[..., PatchEmbedding] = Linear,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.pool, self.frames, self.temporal, self.checkpointing = pool, frames, temporal, checkpointing
        self.patch_size, self.dim, self.class_tokens = patch_size, dim, int(class_token)
        self.final_norms = final_norms
        of_token = frames if temporal == "channels" else 1
        self.embed = embedding(patches=patches, vertices=patch_size // frames, frames=of_token, dim=dim)
        self.class_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02) if class_token else None
        one_row = temporal == "concat" and frame_positions == "sequence"
        learned = temporal == "concat" and not one_row
        self.frame_embedding = nn.Parameter(torch.randn(frames, 1, dim) * 0.02) if learned else None
        stored, placed = layout == "stored", patches * frames if one_row else patches
        self.to_place: nn.Module = nn.Identity()
        if positions == "learned":
            self.positions = nn.Parameter(torch.randn(1, placed, dim) * 0.02)
        elif positions == "geometric":
            self.register_buffer("positions", harmonic_positions(placed, degree), persistent=False)
            self.to_place = nn.Linear(self.positions.shape[2], dim, bias=False)
        else:
            self.register_buffer("positions", sincos_positions(placed, dim), persistent=stored)
        self.register_buffer("order", torch.arange(patch_size).repeat(patches, 1) if stored else None)
        self.blocks: Modules[TransformerBlock] = Modules(
            TransformerBlock(dim, heads if attention else 0, dim_head, mlp_ratio * dim, dropout)
            for _ in range(depth)
        )
        self.norm = layer_norms(dim, final_norms)

    def forward(self, x: Tensor, paths: Tensor | None = None) -> Tensor:
        """(batch, patches, patch_size) -> (batch, dim); ``paths`` as for `attend`."""
        if self.pool == "cls":
            return self.tokens(x, paths)[:, 0]
        return self.patch_tokens(x, paths).mean(dim=1)

    def patch_tokens(self, x: Tensor, paths: Tensor | None = None) -> Tensor:
        """`tokens` but for the class token."""
        return self.tokens(x, paths)[:, self.class_tokens :]

    def tokens(self, x: Tensor, paths: Tensor | None = None) -> Tensor:
        """(batch, patches, patch_size) -> (batch, 1 + patches, dim), the class token first, if there is one.

        With "concat", there are 1 + frames * patches. ``paths`` as for `attend`.
        """
        tokens = self.embedded(self.by_token(x))
        if self.temporal == "average":
            of_each = None if paths is None else paths.repeat_interleave(self.frames, dim=0)
            of_frames = self.attend((tokens + self.places).flatten(0, 1), of_each)
            return of_frames.unflatten(0, (-1, self.frames)).mean(dim=1)
        return self.attend(tokens.flatten(1, -2) + self.places, paths)

    @property
    def attentions(self) -> list[Attention]:
        """That of each block, if there is attention."""
        return [block.attention for block in self.blocks if block.attention is not None]

    @property
    def places(self) -> Tensor:
        """(1, tokens of a sequence, dim): what is added to each, that tells it from the others."""
        of_patches = self.to_place(self.positions)
        if self.frame_embedding is None:
            return of_patches
        return (of_patches + self.frame_embedding).flatten(0, 1)[None]

    def by_token(self, x: Tensor) -> Tensor:
        """The values of each token, as `embed` takes them, of (batch, patches, patch_size).

        They are (batch, patches, values), or (batch, frames, patches, values) if frames have tokens each.
        """
        x = self.arrange(x)
        if self.temporal == "channels":
            return x
        of_frames = x.unflatten(2, (-1, self.frames))
        if self.temporal == "mean_frame":
            return of_frames.mean(dim=3)
        return of_frames.permute(0, 3, 1, 2)

    def fit(self, blocks: Callable[[], Iterable[Tensor]]) -> None:
        """Let the patch embedding take what it has to know of training windows.

        Parameters
        ----------
        blocks : gives windows (n, patches, patch_size), n at a time, as often as it is called
        """
        self.embed.fit(lambda: (self.by_token(block).flatten(0, -3) for block in blocks()))

    def arrange(self, x: Tensor) -> Tensor:
        """(batch, patches, patch_size) as the geometry has them -> in the order that `embed` takes."""
        return x if self.order is None else x.gather(2, self.order.expand(len(x), -1, -1))

    def arranged_back(self, x: Tensor) -> Tensor:
        """The inverse of `arrange`."""
        if self.order is None:
            return x
        return torch.empty_like(x).scatter(2, self.order.expand(len(x), -1, -1), x)

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

    def attend(self, x: Tensor, paths: Tensor | None = None) -> Tensor:
        """Any n patch tokens with positions, (batch, n, dim) -> (batch, class token if any + n, dim).

        Parameters
        ----------
        paths : (batch, depth, 2) factors of what attention and MLP of each block add; None: all are 1
        """
        if self.class_token is not None:  # which has no position of its own, as published
            x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1)
        again = self.checkpointing and torch.is_grad_enabled()
        for number, block in enumerate(self.blocks):
            given = (x,) if paths is None else (x, paths[:, number].to(x.dtype))
            x = checkpoint(block, *given, use_reentrant=False) if again else block(*given)
        return self.norm(x)


class TransformerBlock(nn.Module):
    """Pre-norm transformer block: attention and MLP, each with a residual; with 0 heads, MLP alone."""

    attention: Attention | None

    def __init__(self, dim: int, heads: int, dim_head: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(dim, heads, dim_head, dropout) if heads else None
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, paths: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """(batch, tokens, dim) -> the same.

        Parameters
        ----------
        paths : (batch, 2) factors of attention and MLP
        bias : as `Attention.forward` takes it
        """
        of_attention, of_mlp = (None, None) if paths is None else paths[:, :, None, None].unbind(dim=1)
        if self.attention is not None:
            x = x + _scaled(self.attention(x, bias), of_attention)
        return x + _scaled(self.mlp(x), of_mlp)


def _scaled(x: Tensor, factor: Tensor | None) -> Tensor:
    return x if factor is None else factor * x


class Attention(nn.Module):
    """Multi-head self-attention of normalised tokens; heads have ``dim_head`` whatever ``dim`` is."""

    def __init__(self, dim: int, heads: int, dim_head: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * heads * dim_head, bias=False)
        self.out = nn.Sequential(nn.Linear(heads * dim_head, dim), nn.Dropout(dropout))

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """(batch, tokens, dim) -> the same shape.

        Parameters
        ----------
        bias : (batch or 1, heads, tokens, tokens), what is added to scores of attention
        """
        batch, tokens, _ = x.shape
        qkv = self.qkv(self.norm(x)).view(batch, tokens, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        bias = None if bias is None else bias.to(q.dtype)
        mixed = scaled_dot_product_attention(q, k, v, bias, self.dropout if self.training else 0.0)
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, -1))


def layer_norms(dim: int, count: int) -> nn.Module:
    """One layer norm, or several in a row."""
    norms = [nn.LayerNorm(dim) for _ in range(count)]
    return norms[0] if count == 1 else nn.Sequential(*norms)
