"""torchaudio's models of speech with the weights that torchaudio publishes, loaded without any download.

A bundle in `torchaudio.pipelines` says how its model is built and which file holds its weights; its own
``get_model`` would fetch that file. torchaudio is pinned, so that a bundle's private fields stay as they are.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.parametrize import remove_parametrizations
from torchaudio import pipelines
from torchaudio.models import Wav2Vec2Model, wav2vec2_model, wavlm_model

from simdata.encoders.huggingface import check_keys, other_shape
from simdata.encoders.weights import TorchFile, load_state

PUBLISHED = "https://download.pytorch.org/torchaudio/models/"  # and a bundle's file: torchaudio's own rule
BUILDERS = {"Wav2Vec2": wav2vec2_model, "WavLM": wavlm_model}
HEAD = 64  # features of an attention head: not to be seen in a file, and the same in all published models

CONVOLUTION = "feature_extractor.conv_layers.{}.conv.weight"
POSITIONS = "encoder.transformer.pos_conv_embed.conv.parametrizations.weight.original1"
FEED_FORWARD = re.compile(r"encoder\.transformer\.layers\.\d+\.feed_forward\.intermediate_dense\.weight")
BUCKETS = "encoder.transformer.layers.0.attention.rel_attn_embed.weight"


def source(bundle: str) -> TorchFile:
    """Where torchaudio publishes the weights of a bundle, such as ``HUBERT_BASE``."""
    return TorchFile(PUBLISHED + getattr(pipelines, bundle)._path)


def load_pretrained(encoder: str, bundle: str, file: Path) -> Wav2Vec2Model:
    """A bundle's model on the CPU with the weights of a file, without the head that spells letters.

    Sizes are the file's: one with fewer or narrower blocks than the bundle's loads too.

    Raises
    ------
    UserError
        If the file does not hold exactly the weights of such a model.
    """
    # A fine-tuned model's head is not used; its file has rows in it that torchaudio drops.
    state = {_renamed(key): value for key, value in load_state(file).items() if not key.startswith("aux.")}
    has = {key: tuple(value.shape) for key, value in state.items()}
    model = build(bundle, has)
    needs = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    check_keys(
        f"{encoder}: {file} does not fit {bundle}",
        missing=needs.keys() - has.keys(),
        unexpected=has.keys() - needs.keys(),
        shapes=[
            other_shape(key, has[key], needs[key]) for key in needs if has.get(key, needs[key]) != needs[key]
        ],
        advice=source(bundle).advice,
    )
    model.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
    # The file has the positional convolution as lengths and directions: multiplied here, not at each call.
    remove_parametrizations(model.encoder.transformer.pos_conv_embed.conv, "weight")
    return model


def build(bundle: str, shapes: dict[str, tuple[int, ...]]) -> Wav2Vec2Model:
    """The model without weights (on "meta"), as large as a file's ``shapes``; else as large as published."""
    published = getattr(pipelines, bundle)
    params = {**published._params, "aux_num_out": None}
    with suppress(KeyError, ValueError, IndexError):  # a file of another architecture tells no sizes
        params |= _sizes(params, shapes)
    with torch.device("meta"):
        return BUILDERS[published._model_type](**params)


def frame_timing(model: Wav2Vec2Model) -> tuple[int, int]:
    """Samples from a frame's beginning to the next one's, and samples that the convolutions hear for it."""
    stride, length = 1, 1
    for layer in model.feature_extractor.conv_layers:
        length += (layer.kernel_size - 1) * stride
        stride *= layer.stride
    return stride, length


def _renamed(key: str) -> str:
    """A weight's name today: the published files are older than torch's way of writing weight_norm."""
    key = re.sub(r"\.weight_g$", ".parametrizations.weight.original0", key)
    return re.sub(r"\.weight_v$", ".parametrizations.weight.original1", key)


def _sizes(params: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """The builder's arguments that a file's shapes tell; strides are not among them."""
    convolutions = []
    for layer, (_, _, stride) in enumerate(params["extractor_conv_layer_config"]):
        channels, _, taps = shapes[CONVOLUTION.format(layer)]
        convolutions.append((channels, taps, stride))
    width, group, taps = shapes[POSITIONS]
    feed_forward = [shape for key, shape in shapes.items() if FEED_FORWARD.fullmatch(key)]
    sizes = {
        "extractor_conv_layer_config": convolutions,
        "encoder_embed_dim": width,
        "encoder_pos_conv_kernel": taps,
        "encoder_pos_conv_groups": width // group,
        "encoder_num_layers": len(feed_forward),
        "encoder_num_heads": max(1, width // HEAD),
        "encoder_ff_interm_features": feed_forward[0][0],
    }
    if "encoder_num_buckets" in params:
        sizes["encoder_num_buckets"], sizes["encoder_num_heads"] = shapes[BUCKETS]
    return sizes
