"""VideoMAE checkpoints of MMAction2, which are those SIM used, under transformers' names.

The architecture is the same (mmaction/models/backbones/vit_mae.py of MMAction2 1.x), with three differences:
queries, keys and values are one matrix, whose bias is zero for the keys; the positions are in the file; all
norms have an epsilon of 1e-6.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from simdata.encoders.huggingface import check_keys, height_and_width, other_shape, published_heads

if TYPE_CHECKING:
    from transformers import VideoMAEConfig

BACKBONE = "backbone."  # beside it a recogniser has its classifier, cls_head
FRAMES, INTERVAL = 16, 4  # of all that MMAction2 publishes: a file only tells how many patches a clip has
EPSILON = 1e-6
HEADS = {1280: 16, 1408: 16}  # by width, of the huge and the giant model; others have one for 64 features
ADVICE = "Take a VideoMAE recogniser of MMAction2, as vit-base-p16_videomae-k400-pre_16x4x1_kinetics-400"
PATCHES, POSITIONS = "patch_embed.projection.weight", "pos_embed"
HIDDEN = "blocks.0.mlp.layers.0.0.weight"


def is_checkpoint(state: dict[str, Tensor]) -> bool:
    """Whether a file's keys are those of MMAction2's VisionTransformer."""
    names = (key.removeprefix(BACKBONE) for key, value in state.items() if torch.is_tensor(value))
    return any(name.startswith("patch_embed.projection.") for name in names)


def convert(
    encoder: str, file: Path, state: dict[str, Tensor], config: VideoMAEConfig | None = None
) -> tuple[VideoMAEConfig, dict[str, Tensor], Tensor]:
    """What VideoMAEForVideoClassification needs, but for the classifier.

    Parameters
    ----------
    encoder, file : for messages
    state : of the file
    config : None takes the sizes from the tensors' shapes

    Returns
    -------
    configuration, state, and (1, patches, width) float32 positions, which are no part of transformers' state

    Raises
    ------
    UserError
        If keys are missing, unexpected or of another shape: names the first of each.
    """
    if any(key.startswith(BACKBONE) for key in state):
        state = {key.removeprefix(BACKBONE): t for key, t in state.items() if key.startswith(BACKBONE)}
    state = {key: tensor for key, tensor in state.items() if torch.is_tensor(tensor)}
    what = f"{encoder}: {file} is no VideoMAE checkpoint as MMAction2's are"
    config = config or _sizes(what, state)
    config.layer_norm_eps, config.use_mean_pooling = EPSILON, True
    table = _table(config)
    shapes = [
        other_shape(key, state[key].shape, shape)
        for key, (shape, _) in table.items()
        if key in state and state[key].shape != shape
    ]
    missing, unexpected = table.keys() - state.keys(), state.keys() - table.keys()
    check_keys(what, missing=missing, unexpected=unexpected, shapes=shapes, advice=ADVICE)
    converted: dict[str, Tensor] = {}
    for key, (_, names) in table.items():
        converted.update(zip(names, state[key].chunk(len(names)), strict=True))
    return config, converted, converted.pop(POSITIONS).float()


def heads(what: str, width: int) -> int:
    """Attention heads of the published VideoMAE of that width, as `published_heads`."""
    return published_heads(what, width, HEADS)


def _sizes(what: str, state: dict[str, Tensor]) -> VideoMAEConfig:
    from transformers import VideoMAEConfig

    dimensions = {PATCHES: 5, POSITIONS: 3, HIDDEN: 2}
    shapes = [
        f"{key} (has {tuple(state[key].shape)}, needs {count} dimensions)"
        for key, count in dimensions.items()
        if key in state and state[key].ndim != count
    ]
    missing = dimensions.keys() - state.keys()
    check_keys(what, missing=missing, unexpected=[], shapes=shapes, advice=ADVICE)
    width, _, tubelet, patch, _ = state[PATCHES].shape
    blocks = [int(found[1]) for found in (re.match(r"blocks\.(\d+)\.", key) for key in state) if found]
    across = math.isqrt(state[POSITIONS].shape[1] * tubelet // FRAMES)
    return VideoMAEConfig(
        image_size=across * patch,
        patch_size=patch,
        num_frames=FRAMES,
        tubelet_size=tubelet,
        hidden_size=width,
        num_hidden_layers=max(blocks) + 1,
        num_attention_heads=heads(what, width),
        intermediate_size=len(state[HIDDEN]),
    )


def _table(config: VideoMAEConfig) -> dict[str, tuple[tuple[int, ...], tuple[str, ...]]]:
    """MMAction2's keys: their shapes, and transformers' names for the equal parts of the first dimension."""
    from transformers.models.videomae.modeling_videomae import VideoMAEPatchEmbeddings

    width, hidden = config.hidden_size, config.intermediate_size
    patches = VideoMAEPatchEmbeddings(config).num_patches
    pixels = (width, config.num_channels, config.tubelet_size, *height_and_width(config.patch_size))
    projection = "videomae.embeddings.patch_embeddings.projection"
    table: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
        POSITIONS: ((1, patches, width), (POSITIONS,)),
        PATCHES: (pixels, (f"{projection}.weight",)),
        "patch_embed.projection.bias": ((width,), (f"{projection}.bias",)),
        "fc_norm.weight": ((width,), ("fc_norm.weight",)),
        "fc_norm.bias": ((width,), ("fc_norm.bias",)),
    }
    for block in range(config.num_hidden_layers):
        old, new = f"blocks.{block}.", f"videomae.encoder.layer.{block}."
        attention = f"{new}attention.attention."
        parts = tuple(f"{attention}{part}.weight" for part in ("query", "key", "value"))
        table[f"{old}attn.qkv.weight"] = ((3 * width, width), parts)
        table[f"{old}attn.q_bias"] = ((width,), (f"{attention}query.bias",))
        table[f"{old}attn.v_bias"] = ((width,), (f"{attention}value.bias",))
        for theirs, ours, *shape in (
            ("norm1", "layernorm_before", width),
            ("attn.proj", "attention.output.dense", width, width),
            ("norm2", "layernorm_after", width),
            ("mlp.layers.0.0", "intermediate.dense", hidden, width),
            ("mlp.layers.1", "output.dense", width, hidden),
        ):
            table[f"{old}{theirs}.weight"] = (tuple(shape), (f"{new}{ours}.weight",))
            table[f"{old}{theirs}.bias"] = (tuple(shape[:1]), (f"{new}{ours}.bias",))
    return table
