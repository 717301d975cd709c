"""The published surface transformers, written out again from their description, name by name.

Weights are dictionaries with the published names; what is worked out of them is plain arithmetic.
"""

import math

import torch
from torch.nn.functional import gelu, layer_norm

WRAPPED = ("0.norm", "0.fn.to_qkv", "0.fn.to_out.0", "1.norm", "1.fn.net.0", "1.fn.net.3")
PLAIN = ("0.norm", "0.to_qkv", "0.to_out.0", "1.net.0", "1.net.1", "1.net.4")


def affine(name, rows, columns=None):
    """Random, and not near what a layer begins with: a weight that is not loaded must show."""
    if columns is None:
        return {f"{name}.weight": 1 + torch.randn(rows) / 3, f"{name}.bias": torch.randn(rows) / 3}
    weight = torch.randn(rows, columns) / math.sqrt(columns)
    return {f"{name}.weight": weight, f"{name}.bias": torch.randn(rows) / 3}


def transformer(place, depth, dim, inner, names=WRAPPED):
    """Weights of vit-pytorch's Transformer, of before (WRAPPED) or after (PLAIN) version 1.4.0."""
    state = {}
    for block in range(depth):
        norm, qkv, out, norm2, first, second = (f"{place}.layers.{block}.{name}" for name in names)
        state |= affine(norm, dim) | affine(qkv, 3 * inner, dim) | affine(out, dim, inner)
        state |= affine(norm2, dim) | affine(first, 4 * dim, dim) | affine(second, dim, 4 * dim)
        del state[f"{qkv}.bias"]
    return state | (affine(f"{place}.norm", dim) if names == PLAIN else {})


def normed(x, state, name):
    return layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-5)


def linear(x, state, name):
    return x @ state[f"{name}.weight"].T + state.get(f"{name}.bias", 0)


def transformed(x, state, place, heads):
    """(batch, tokens, dim) through all layers of a Transformer at ``place``."""
    names = WRAPPED if f"{place}.layers.0.1.norm.weight" in state else PLAIN
    for block in range(1 + max(int(key.split(".")[2]) for key in state if key.startswith(f"{place}.layers"))):
        norm, qkv, out, norm2, first, second = (f"{place}.layers.{block}.{name}" for name in names)
        of_heads = []
        q, k, v = linear(normed(x, state, norm), state, qkv).chunk(3, dim=-1)
        for one in zip(q.chunk(heads, -1), k.chunk(heads, -1), v.chunk(heads, -1), strict=True):
            rows = []
            for queries in one[0].split(1024, dim=1):  # all scores of 10,240 tokens would take 400 MB
                scores = queries @ one[1].transpose(1, 2) * queries.shape[-1] ** -0.5
                rows.append(scores.softmax(dim=-1) @ one[2])
            of_heads.append(torch.cat(rows, dim=1))
        heads_out = torch.cat(of_heads, dim=-1)
        x = (linear(heads_out, state, out) if f"{out}.weight" in state else heads_out) + x
        x = linear(gelu(linear(normed(x, state, norm2), state, first)), state, second) + x
    return normed(x, state, f"{place}.norm") if names == PLAIN else x


def tokens(state, token, sequence, heads):
    """SIM's encoder: (batch, channels, tokens, vertices) -> (batch, 1 + tokens, dim) after the last norm."""
    x = sequence.permute(0, 2, 3, 1).flatten(2)  # b c n v -> b n (v c)
    x = linear(x, state, "to_patch_embedding.1")
    positions = state["pos_embedding"]
    if positions.shape[1] == x.shape[1]:
        x = torch.cat([token.expand(len(x), -1, -1), x + positions], dim=1)
    else:
        x = torch.cat([token.expand(len(x), -1, -1), x], dim=1) + positions
    return normed(transformed(x, state, "transformer", heads), state, "mlp_head.0")


def mixed(sequence, temporal_rep):
    """What the published datasets make of (batch, frames, patches, vertices), as channels of tokens."""
    if temporal_rep == "concat":
        return torch.cat(list(sequence.transpose(0, 1)), dim=1)[:, None]
    return sequence.sum(dim=1, keepdim=True) / sequence.shape[1] if temporal_rep == "avg" else sequence


def save(state, path, **others):
    """A checkpoint as the published code leaves it."""
    torch.save({"model_state_dict": state, "optimizer_state_dict": {}, "loss": 0.5, **others}, path)
    return path
