"""Which patches the attention of an encoder leads to.

Attention rollout (Abnar & Zuidema 2020, arXiv 2005.00928) follows the weights through all blocks, with half
of every token going on along the residual; or the weights of the last block alone. Fused attention hides
its weights, so they are worked out again from what each block's attention was given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from simtrain.models.sit import Attention, SiT

HEADS = ("mean", "max", "min")
ROWS = 256  # queries at a time: bounds memory where there are many tokens


@torch.no_grad()
def attention_to_patches(encoder: SiT, x: Tensor, *, rollout: bool = True, heads: str = "mean") -> Tensor:
    """How much of each patch the encoder's output is made of, by attention.

    The output is the class token, or the mean of the patch tokens, after which the order of mean and
    projector makes no difference here. The share of the class token itself is left out.

    Parameters
    ----------
    x : (batch, patches, patch_size), as `SiT.forward` takes it
    rollout : through all blocks; else the last one only, without the residual
    heads : how heads become one: their "mean", "max" or "min"

    Returns
    -------
    (batch, patches, frames) float32; where a token is all frames of a patch (``temporal: channels``), 1 in
    place of frames
    """
    with _inputs_of_attention(encoder) as inputs:
        tokens = encoder.tokens(x)
    sequences, length = inputs[0].shape[:2]
    reached = tokens.new_zeros(sequences, length, dtype=torch.float32)
    if encoder.pool == "cls":
        reached[:, 0] = 1.0
    else:
        reached[:, 1:] = 1 / (length - 1)
    blocks = list(zip(encoder.blocks, inputs, strict=True))
    for block, given in reversed(blocks if rollout else blocks[-1:]):
        reached = _one_block_back(block.attention, given, reached, heads, residual=rollout)
    if encoder.temporal == "channels":
        return reached[:, 1:, None]
    if encoder.temporal == "concat":
        return reached[:, 1:].unflatten(1, (encoder.frames, -1)).transpose(1, 2)
    return reached[:, 1:].unflatten(0, (-1, encoder.frames)).transpose(1, 2) / encoder.frames


def attention_weights(attention: Attention, x: Tensor, queries: slice = slice(None)) -> Tensor:
    """(batch, heads, queries, tokens) softmax weights, rows of sum 1, of tokens (batch, tokens, dim)."""
    qkv = attention.qkv(attention.norm(x)).unflatten(2, (3, attention.heads, -1))
    q, k, _ = qkv.permute(2, 0, 3, 1, 4).float()
    return (q[:, :, queries] @ k.transpose(2, 3) * q.shape[-1] ** -0.5).softmax(dim=-1)


@contextmanager
def _inputs_of_attention(encoder: SiT) -> Iterator[list[Tensor]]:
    """Within it, what the attention of each block is given is appended to the list."""
    inputs: list[Tensor] = []
    hooks = [
        block.attention.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
        for block in encoder.blocks
    ]
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()


def _one_block_back(attention: Attention, x: Tensor, reached: Tensor, heads: str, residual: bool) -> Tensor:
    """(batch, tokens) shares of a block's outputs -> shares of its inputs: a row times the matrix.

    With the residual, the matrix is (weights + identity), its rows divided by their sum.
    """
    found = torch.zeros_like(reached)
    for start in range(0, x.shape[1], ROWS):
        rows = slice(start, start + ROWS)
        weights = _fused(attention_weights(attention, x, rows), heads)
        share = reached[:, rows]
        if residual:
            share = share / (weights.sum(dim=2) + 1)
            found[:, rows] += share
        found += (share[:, None] @ weights)[:, 0]
    return found


def _fused(weights: Tensor, heads: str) -> Tensor:
    return weights.mean(dim=1) if heads == "mean" else getattr(weights, f"a{heads}")(dim=1)
