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

from simtrain.models.sit import ONE_TOKEN, Attention, SiT

HEADS = ("mean", "max", "min")
EACH = "each"
ROWS = 256  # queries at a time: bounds memory where there are many tokens


@torch.no_grad()
def attention_to_patches(
    encoder: SiT, x: Tensor, *, rollout: bool = True, heads: str = "mean", block: int = -1
) -> Tensor:
    """How much of each patch the encoder's output is made of, by attention.

    The output is the class token, or the mean of the patch tokens, after which the order of mean and
    projector makes no difference here. The share of the class token itself is left out.

    Parameters
    ----------
    x : (batch, patches, patch_size), as `SiT.forward` takes it
    rollout : through all blocks; else of one only, without the residual
    heads : how heads become one: their "mean", "max" or "min"
    block : the one, -1 the last

    Returns
    -------
    (batch, patches, frames) float32; where a token is all frames of a patch (``temporal`` channels or
    mean_frame), 1 in place of frames
    """
    with _inputs_of_attention(encoder) as inputs:
        encoder.tokens(x)
    blocks = list(zip(encoder.attentions, inputs, strict=True))
    reached = _shares_of_output(encoder, inputs[0])
    for attention, given in reversed(blocks if rollout else blocks[block:][:1]):
        reached = _one_block_back(attention, given, reached[:, None], heads, residual=rollout)[:, 0]
    return _by_frame(encoder, reached)


@torch.no_grad()
def heads_to_patches(encoder: SiT, x: Tensor, block: int = -1) -> Tensor:
    """How much attention each head of one block gives to each patch, as `attention_to_patches` of one block.

    The mean over heads is that of ``heads`` "mean".

    Returns
    -------
    (batch, patches, frames, heads) float32
    """
    with _inputs_of_attention(encoder) as inputs:
        encoder.tokens(x)
    reached = _shares_of_output(encoder, inputs[block])[:, None]
    of_heads = _one_block_back(encoder.attentions[block], inputs[block], reached, EACH, residual=False)
    return _by_frame(encoder, of_heads.transpose(1, 2))


def _shares_of_output(encoder: SiT, tokens: Tensor) -> Tensor:
    """(sequences, tokens): what the output is made of, in tokens behind the last block."""
    sequences, length = tokens.shape[:2]
    reached = tokens.new_zeros(sequences, length, dtype=torch.float32)
    if encoder.pool == "cls":
        reached[:, 0] = 1.0
    else:
        reached[:, encoder.class_tokens :] = 1 / (length - encoder.class_tokens)
    return reached


def _by_frame(encoder: SiT, reached: Tensor) -> Tensor:
    """(sequences, tokens, ...) shares -> (batch, patches, frames, ...), a class token left out."""
    of_patches = reached[:, encoder.class_tokens :]
    if encoder.temporal in ONE_TOKEN:
        return of_patches[:, :, None]
    if encoder.temporal == "concat":
        return of_patches.unflatten(1, (encoder.frames, -1)).transpose(1, 2)
    return of_patches.unflatten(0, (-1, encoder.frames)).transpose(1, 2) / encoder.frames


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
        attention.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
        for attention in encoder.attentions
    ]
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()


def _one_block_back(attention: Attention, x: Tensor, reached: Tensor, heads: str, residual: bool) -> Tensor:
    """(batch, 1, tokens) shares of a block's outputs -> shares of its inputs, a row times the matrix.

    With the residual, the matrix is (weights + identity), its rows divided by their sum. (batch, heads,
    tokens) where heads do not become one (``EACH``).
    """
    sequences, tokens = x.shape[:2]
    found = reached.new_zeros(sequences, attention.heads if heads == EACH else 1, tokens)
    for start in range(0, tokens, ROWS):
        rows = slice(start, start + ROWS)
        weights = _fused(attention_weights(attention, x, rows), heads)
        share = reached[:, :, rows]
        if residual:
            share = share / (weights.sum(dim=3) + 1)
            found[:, :, rows] += share
        found += (share[:, :, None] @ weights)[:, :, 0]
    return found


def _fused(weights: Tensor, heads: str) -> Tensor:
    """(batch, heads, ...) -> (batch, 1, ...), or as they are (``EACH``)."""
    if heads == EACH:
        return weights
    if heads == "mean":
        return weights.mean(dim=1, keepdim=True)
    return getattr(weights, f"a{heads}")(dim=1, keepdim=True)
