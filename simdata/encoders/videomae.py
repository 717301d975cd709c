"""VideoMAE: a video transformer that learnt to fill in masked patches of 16 frames (arXiv 2203.12602).

SIM (arXiv 2501.16471) took MMAction2's base model, fine-tuned on Kinetics-400. Files of MMAction2 and of
transformers are read. As published, a clip's embedding is the mean of its patches' tokens, normalised:

- fine-tuned models have a norm behind the mean, ``fc_norm``. Its epsilon is in no file: 1e-6 in MMAction2 and
  in the original code, 1e-5 in transformers. Here it is that of the library whose file it is.
- models that were only pretrained have no such norm, but one of each token, whose output is averaged.
- a file with neither (transformers' VideoMAEModel, saved from a fine-tuned one) gives the mean as it is.

`VideoMAE.parameters` says in ``pooling`` which of them it was.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from transformers import VideoMAEConfig, VideoMAEForVideoClassification, VideoMAEModel

from simdata.encoders import mmaction
from simdata.encoders.base import Grid, uniform_frames
from simdata.encoders.huggingface import first_blocks, load_pretrained, read_config
from simdata.encoders.inference import ModelSettings
from simdata.encoders.pixels import PixelEncoder, mean_token, picture_size
from simdata.encoders.weights import HubModel, load_state

HEADS = ("classifier.", "decoder.", "encoder_to_decoder.", "mask_token")  # what training needed


class VideoMAE(PixelEncoder):
    """Mean of the tokens of 16 frames, in the middles of equal parts of the window: (n, 768) float32."""

    encoder = "videomae"
    summary = "VideoMAE base, fine-tuned on Kinetics-400: SIM's video encoder (transformers or MMAction2)"
    hub = HubModel("MCG-NJU/videomae-base-finetuned-kinetics")

    def __init__(self, settings: ModelSettings | None = None) -> None:
        super().__init__(settings)
        file = self._find()
        model = load_model(self.encoder, file)
        config, layer = model.config, self.settings.layer
        model.encoder.layer = first_blocks(self.encoder, model.encoder.layer, layer)
        outputs = mean_token
        if layer is not None:
            model.layernorm = None
            pooling = f"mean of the tokens behind block {layer}"
        elif model.fc_norm is not None:
            outputs = _normed_mean(model.fc_norm)
            pooling = f"mean of the tokens, then layer norm (fc_norm, epsilon {model.fc_norm.eps:g})"
        elif model.layernorm is not None:
            pooling = "mean of the tokens behind the final layer norm"
        else:
            pooling = "mean of the tokens; the file has no final norm"
        rate, phase, self._index = uniform_frames(config.num_frames, self.window)
        self.grid = Grid(rate, picture_size(config.image_size), "crop", phase)
        self.features = config.hidden_size
        frames = config.num_frames
        self._run(file, model, outputs, architecture="VideoMAE", frames=frames, pooling=pooling)

    def encode(self, span: np.ndarray, starts: np.ndarray) -> np.ndarray:
        return self._embed(span, np.asarray(starts)[:, None] * self.grid.rate + self._index)


def _normed_mean(norm: nn.Module) -> Callable[[Any], Tensor]:
    return lambda output: norm(mean_token(output))


def load_model(encoder: str, file: Path) -> VideoMAEModel:
    """The transformer; its ``fc_norm`` is the norm of the mean token, None if the file has none.

    Raises
    ------
    UserError
        If the file cannot be read, or holds another model's weights.
    """
    state, positions = load_state(file), None
    config = read_config(encoder, VideoMAEConfig, file)
    from_mmaction = mmaction.is_checkpoint(state)
    if from_mmaction:
        config, state, positions = mmaction.convert(encoder, file, state, config)
    config = config or _sizes(encoder, file, state)
    fine_tuned = "fc_norm.weight" in state
    normed = any(key.removeprefix("videomae.").startswith("layernorm.") for key in state)
    # transformers' words for: without a norm of each token, and without a classifier.
    config.use_mean_pooling, config.num_labels = not normed, 0
    kind = VideoMAEForVideoClassification if fine_tuned else VideoMAEModel
    whole = load_pretrained(encoder, kind, VideoMAEConfig, file, unused=HEADS, state=state, config=config)
    model = whole.videomae if fine_tuned else whole
    model.fc_norm = whole.fc_norm if fine_tuned else None
    if from_mmaction:
        model.fc_norm.eps = mmaction.EPSILON
    # transformers leaves the positions on the CPU, and would send them to the device with every batch.
    embeddings = model.embeddings
    positions = embeddings.position_embeddings if positions is None else positions
    del embeddings.position_embeddings
    embeddings.register_buffer("position_embeddings", positions, persistent=False)
    return model


def _sizes(encoder: str, file: Path, state: dict[str, Tensor]) -> VideoMAEConfig:
    """From the shapes in a file of transformers; of pictures of 224 x 224, as the shapes do not tell."""
    state = {key.removeprefix("videomae."): tensor for key, tensor in state.items()}
    patches = state.get("embeddings.patch_embeddings.projection.weight")
    hidden = state.get("encoder.layer.0.intermediate.dense.bias")
    if patches is None or hidden is None or patches.ndim != 5:
        return VideoMAEConfig()  # with which loading says what is missing
    blocks = [int(key.split(".")[2]) for key in state if key.startswith("encoder.layer.")]
    return VideoMAEConfig(
        patch_size=patches.shape[-1],
        tubelet_size=patches.shape[2],
        hidden_size=len(patches),
        num_hidden_layers=max(blocks) + 1,
        num_attention_heads=mmaction.heads(f"{encoder}: {file}", len(patches)),
        intermediate_size=len(hidden),
    )
