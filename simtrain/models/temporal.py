"""A transformer over time: what the seconds around a window add to the embedding of the window.

The winners of Algonauts 2025 went from film to BOLD by transformers over some 100 s (such as TRIBE: d'Ascoli
et al. 2025, arXiv 2507.22229); here it goes the other way. A token is one second, made of the mean BOLD of
each patch; the window's own token, which the surface encoder gives, asks the others.

How much of its surroundings a window may see tells where in its scene it lies, and a model that knew it could
find clips without any BOLD. So seconds that may not be seen take no part in attention, nor does the window's
token but to ask, and where in time a token lies shows in nothing but which others it attends to: by a learned
bias for each head and distance (Raffel et al. 2020, arXiv 1910.10683), which begins as ALiBi's (Press et al.
2022, arXiv 2108.12409). Were all seconds alike, the result would be the same however many are seen; with
positions that are added to tokens it would not.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from simtrain.common.modules import Modules
from simtrain.models.sit import TransformerBlock


class ContextTransformer(nn.Module):
    """What is added to windows' embeddings; at first, 0.

    Parameters
    ----------
    patches : whose means a second is made of
    before, frames, after : s, of the context, of the window in it, and of the context again
    dim : of a token, and of the window's embedding
    hidden : width of the blocks' MLPs
    """

    distance: Tensor

    def __init__(
        self,
        *,
        patches: int,
        before: int,
        frames: int,
        after: int,
        dim: int,
        depth: int,
        heads: int,
        dim_head: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.LayerNorm(patches), nn.Linear(patches, dim))
        seconds = before + frames + after
        time = torch.cat([torch.tensor([before + (frames - 1) // 2]), torch.arange(seconds)])
        self.register_buffer("distance", time - time[:, None] + seconds - 1, persistent=False)
        self.bias = nn.Parameter(first_biases(heads, seconds))
        self.blocks: Modules[TransformerBlock] = Modules(
            TransformerBlock(dim, heads, dim_head, hidden, dropout) for _ in range(depth)
        )
        self.norm, self.out = nn.LayerNorm(dim), nn.Linear(dim, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, window: Tensor, courses: Tensor, seen: Tensor) -> Tensor:
        """(n, dim) to add to ``window``.

        Parameters
        ----------
        window : (n, dim), of the surface encoder
        courses, seen : (n, seconds, patches) and (n, seconds), as `simtrain.models.context.Context` has them
        """
        tokens = torch.cat([window[:, None], self.embed(courses)], dim=1)
        answers = torch.cat([torch.zeros_like(seen[:, :1]), seen], dim=1)  # the window only asks
        bias = self.bias[:, 0, self.distance].masked_fill(~answers[:, None, None], -math.inf)
        for block in self.blocks:
            tokens = block(tokens, bias=bias)
        return self.out(self.norm(tokens[:, 0]))


def first_biases(heads: int, seconds: int) -> Tensor:
    """(heads, 1, 2 * seconds - 1): attention falls with distance, in every head at another rate."""
    slopes = 2.0 ** (-8 * torch.arange(1, heads + 1) / heads)
    return -slopes[:, None, None] * torch.arange(1 - seconds, seconds).abs()
