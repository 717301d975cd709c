"""Models of still pictures, which see some pictures of the window one by one; a row is the mean of them.

CLIP (arXiv 2103.00020) learnt which of many captions is a picture's, SigLIP (arXiv 2303.15343) whether one
is. Both embeddings are taken as published, not scaled to unit length. Windows that overlap share pictures:
each is encoded once in a span, so that windows of 16 s cost no more than windows of 1 s.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    PreTrainedModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from simdata.encoders.base import Grid
from simdata.encoders.huggingface import first_blocks, load_pretrained
from simdata.encoders.inference import ModelSettings
from simdata.encoders.pixels import PixelEncoder, mean_token, picture_size
from simdata.encoders.weights import HubModel
from simdata.errors import UserError


class FrameSettings(ModelSettings):
    """``rate`` pictures a second, in the middles of equal parts; ``batch_size`` counts pictures."""

    rate: Annotated[int, Field(ge=1, le=30)] = 2
    batch_size: Annotated[int, Field(ge=1)] = 64


class CLIPSettings(FrameSettings):
    """``pooling`` is what is taken behind ``layer``: the mean of the patches (default) or the class token."""

    pooling: Literal["mean", "cls"] | None = None

    @model_validator(mode="after")
    def _pools_a_layer(self) -> CLIPSettings:
        if self.pooling and self.layer is None:
            raise ValueError(
                "pooling is of a layer's tokens, and the model's own output has none: give layer"
            )
        return self


class FrameEncoder(PixelEncoder):
    """Mean over the window's pictures; a subclass's constructor sets ``features`` and ends with `_see`."""

    Settings = FrameSettings
    settings: FrameSettings
    fit: Literal["stretch", "crop"]
    architecture: str

    def _see(
        self, file: Path, model: PreTrainedModel, outputs: Callable[[Any], Tensor], pooling: str
    ) -> None:
        rate = self.settings.rate
        self.grid = Grid(rate, picture_size(model.config.image_size), self.fit, phase=0.5)
        self._run(
            file,
            model,
            outputs,
            architecture=self.architecture,
            frames=self.window * rate,
            pooling=f"{pooling}; mean over the window's pictures",
        )

    def encode(self, span: np.ndarray, starts: np.ndarray) -> np.ndarray:
        rate = self.grid.rate
        places = np.asarray(starts)[:, None] * rate + np.arange(self.window * rate)
        pictures, of_window = np.unique(places, return_inverse=True)
        return self._embed(span, pictures)[of_window].mean(axis=1)


class CLIP(FrameEncoder):
    """The class token, normalised and projected to where captions are: (n, 512) float32."""

    encoder = "clip"
    summary = "CLIP ViT-B/32, mean over the window's pictures (transformers)"
    architecture = "CLIP vision tower"
    hub = HubModel("openai/clip-vit-base-patch32")
    mean = (0.48145466, 0.4578275, 0.40821073)
    std = (0.26862954, 0.26130258, 0.27577711)
    fit = "crop"
    Settings = CLIPSettings
    settings: CLIPSettings

    def __init__(self, settings: CLIPSettings | None = None) -> None:
        super().__init__(settings)
        file, layer, token = self._find(), self.settings.layer, self.settings.pooling == "cls"
        unused = ("text_model.", "text_projection.", "logit_scale")
        model = load_pretrained(
            self.encoder, CLIPVisionModelWithProjection, CLIPVisionConfig, file, unused=unused
        )
        tower = model.vision_model
        tower.encoder.layers = first_blocks(self.encoder, tower.encoder.layers, layer)
        if layer is None:
            self.features = model.config.projection_dim
            self._see(file, model, _projected, "class token, final layer norm, projection")
        else:
            self.features = model.config.hidden_size
            pooling = f"{'class token' if token else 'mean of the patches'} behind block {layer}"
            self._see(file, tower, _class_token if token else _mean_patch, pooling)


class SigLIP(FrameEncoder):
    """What the pooling head's attention makes of the patches: (n, 768) float32."""

    encoder = "siglip"
    summary = "SigLIP ViT-B/16, mean over the window's pictures (transformers)"
    architecture = "SigLIP vision tower"
    hub = HubModel("google/siglip-base-patch16-224")
    mean = std = (0.5, 0.5, 0.5)
    fit = "stretch"

    def __init__(self, settings: FrameSettings | None = None) -> None:
        super().__init__(settings)
        file, layer = self._find(), self.settings.layer
        unused = ("text_model.", "logit_scale", "logit_bias")
        model = load_pretrained(self.encoder, SiglipVisionModel, SiglipVisionConfig, file, unused=unused)
        model.encoder.layers = first_blocks(self.encoder, model.encoder.layers, layer)
        self.features = model.config.hidden_size
        if layer is not None:
            model.post_layernorm, model.use_head = nn.Identity(), False
            self._see(file, model, mean_token, f"mean of the patches behind block {layer}")
        elif model.use_head:
            self._see(file, model, _pooled, "attention-pooling head behind the final layer norm")
        else:
            raise UserError(f"{self.encoder}: {file}: the model has no pooling head; choose a layer")


def _projected(output: Any) -> Tensor:
    return output.image_embeds


def _pooled(output: Any) -> Tensor:
    return output.pooler_output


def _class_token(output: Any) -> Tensor:
    return output.last_hidden_state[:, 0]


def _mean_patch(output: Any) -> Tensor:
    """Without the class token, which comes first."""
    return output.last_hidden_state[:, 1:].mean(dim=1, dtype=torch.float32)
