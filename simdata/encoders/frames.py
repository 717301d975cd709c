"""Models of still pictures, which see some pictures of the window one by one; a row is the mean of them.

CLIP (arXiv 2103.00020) learnt which of many captions is a picture's, SigLIP (arXiv 2303.15343) whether one
is. Both embeddings are taken as published, not scaled to unit length. Windows that overlap share pictures:
each is encoded once in a span, so that windows of 16 s cost no more than windows of 1 s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

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

from simdata.common.errors import UserError
from simdata.encoders.huggingface import (
    count_blocks,
    first_blocks,
    height_and_width,
    load_pretrained,
    published_heads,
    read_config,
)
from simdata.encoders.pixels import PixelEncoder, PixelSettings, mean_token
from simdata.encoders.preprocessing import HALF, OPENAI, Preprocessing
from simdata.encoders.processor_files import ProcessorFile
from simdata.encoders.weights import HubModel, load_state

CLASS_TOKEN = "vision_model.embeddings.class_embedding"
# By width, where it is not one for 64 features: CLIP's ViT-H, g and bigG, SigLIP's so400m and giant.
CLIP_HEADS = {1280: 16, 1408: 16, 1664: 16}
SIGLIP_HEADS = {1152: 16, 1536: 16}
SIGLIP_WORDS = 32_000


class FrameSettings(PixelSettings):
    """``rate`` pictures a second, in the middles of equal parts; ``batch_size`` counts pictures."""

    rate: Annotated[int, Field(ge=1, le=30)] = 2
    batch_size: Annotated[int, Field(ge=1)] = 64


class CLIPSettings(FrameSettings):
    """``pooling`` is what is taken behind ``layer``: the mean of the patches (default) or the class token.

    ``activation`` is needed for a file without config.json: it is not in the weights.
    """

    pooling: Literal["mean", "cls"] | None = None
    activation: Annotated[
        Literal["quick_gelu", "gelu"] | None,
        Field(description="without config.json: quick_gelu (OpenAI's) or gelu (most of OpenCLIP's)"),
    ] = None

    @model_validator(mode="after")
    def _pools_a_layer(self) -> CLIPSettings:
        if self.pooling and self.layer is None:
            raise ValueError(
                "pooling is of a layer's tokens, and the model's own output has none: give layer"
            )
        return self


class FrameEncoder(PixelEncoder):
    """Mean over the window's pictures; a subclass's constructor sets ``features`` and ends with `_look`."""

    Settings = FrameSettings
    settings: FrameSettings
    architecture: str

    def _look(
        self,
        file: Path,
        published: Preprocessing,
        model: PreTrainedModel,
        outputs: Callable[[Any], Tensor],
        pooling: str,
    ) -> None:
        rate = self.settings.rate
        size = height_and_width(model.config.image_size)
        self._see(file, published, size, rate=rate, phase=0.5)
        self._run(
            file,
            model,
            model.config,
            outputs,
            architecture=self.architecture,
            frames=self.window * rate,
            frames_taken=f"on screen at s + (k + 1/2) / {rate} s, k = 0 to {self.window * rate - 1}",
            picture_rate_hz=rate,
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
    processors = "CLIP"
    Settings = CLIPSettings
    settings: CLIPSettings

    def __init__(self, settings: CLIPSettings | None = None) -> None:
        super().__init__(settings)
        file, layer, token = self._find(), self.settings.layer, self.settings.pooling == "cls"
        unused = ("text_model.", "text_projection.", "logit_scale")
        state = load_state(file)
        model = load_pretrained(
            self.encoder,
            CLIPVisionModelWithProjection,
            CLIPVisionConfig,
            file,
            unused=unused,
            state=state,
            config=self._config(file, state),
        )
        self._check_activation(file)
        size = height_and_width(model.config.image_size)
        published = Preprocessing(min(size), size, "bicubic", *OPENAI)
        tower = model.vision_model
        tower.encoder.layers = first_blocks(self.encoder, tower.encoder.layers, layer)
        if layer is None:
            self.features = model.config.projection_dim
            self._look(file, published, model, _projected, "class token, final layer norm, projection")
        else:
            self.features = model.config.hidden_size
            pooling = f"{'class token' if token else 'mean of the patches'} behind block {layer}"
            self._look(file, published, tower, _class_token if token else _mean_patch, pooling)

    def _config(self, file: Path, state: dict[str, Tensor]) -> CLIPVisionConfig:
        """config.json's; else from the tensors' shapes and, what they do not tell, the setting."""
        config, activation = read_config(self.encoder, CLIPVisionConfig, file), self.settings.activation
        if config is None:
            sizes = _sizes(self.encoder, file, state, CLIP_HEADS) if CLASS_TOKEN in state else _Sizes()
            config = CLIPVisionConfig(**sizes, hidden_act=activation or "quick_gelu")
            if (projection := state.get("visual_projection.weight")) is not None:
                config.projection_dim = len(projection)
            return config
        if activation not in (None, config.hidden_act):
            raise UserError(
                f"{self.encoder}: activation={activation}: config.json beside {file} says {config.hidden_act}"
            )
        return config

    def _check_activation(self, file: Path) -> None:
        """OpenAI's own file, from the hub's cache, needs none."""
        told = self.settings.activation or file.with_name("config.json").is_file()
        if self.settings.weights and not told:
            raise UserError(
                f"{self.encoder}: {file}: no config.json lies beside it, and weights do not tell their "
                "activation: put the model's own there, or say activation=quick_gelu (OpenAI's models) "
                "or activation=gelu (most of OpenCLIP's)"
            )


class SigLIP(FrameEncoder):
    """What the pooling head's attention makes of the patches: (n, 768) float32."""

    encoder = "siglip"
    summary = "SigLIP ViT-B/16, mean over the window's pictures (transformers)"
    architecture = "SigLIP vision tower"
    hub = HubModel("google/siglip-base-patch16-224")
    processors = "Siglip"

    def __init__(self, settings: FrameSettings | None = None) -> None:
        super().__init__(settings)
        file, layer = self._find(), self.settings.layer
        unused = ("text_model.", "logit_scale", "logit_bias")
        state = load_state(file)
        self._check_version(file, state)
        config = read_config(self.encoder, SiglipVisionConfig, file)
        if config is None:
            head = any(key.removeprefix("vision_model.").startswith("head.") for key in state)
            sizes = _sizes(self.encoder, file, state, SIGLIP_HEADS)
            config = SiglipVisionConfig(**sizes, vision_use_head=head)
        model = load_pretrained(
            self.encoder,
            SiglipVisionModel,
            SiglipVisionConfig,
            file,
            unused=unused,
            state=state,
            config=config,
        )
        published = Preprocessing(height_and_width(model.config.image_size), None, "bicubic", *HALF)
        model.encoder.layers = first_blocks(self.encoder, model.encoder.layers, layer)
        self.features = model.config.hidden_size
        if layer is not None:
            model.set_submodule("post_layernorm", nn.Identity())
            model.use_head = False
            self._look(file, published, model, mean_token, f"mean of the patches behind block {layer}")
        elif model.use_head:
            self._look(file, published, model, _pooled, "attention-pooling head behind the final layer norm")
        else:
            raise UserError(f"{self.encoder}: {file}: the model has no pooling head; choose a layer")

    def _check_version(self, file: Path, state: dict[str, Tensor]) -> None:
        """SigLIP 2, told by its larger vocabulary, resizes otherwise: its processor's file must be there."""
        words = state.get("text_model.embeddings.token_embedding.weight")
        if words is None or len(words) <= SIGLIP_WORDS:
            return
        if ProcessorFile.find(self.encoder, file, "image_processor") is None:
            raise UserError(
                f"{self.encoder}: {file}: is a SigLIP 2 ({len(words)} words), whose pictures are prepared "
                "otherwise than SigLIP's: put its preprocessor_config.json beside it"
            )


class _Sizes(TypedDict, total=False):
    """What a vision tower's configuration says of its sizes."""

    hidden_size: int
    patch_size: int
    image_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int


def _sizes(encoder: str, file: Path, state: dict[str, Tensor], heads: dict[int, int]) -> _Sizes:
    """What the shapes in a file of a vision tower tell of it, nothing for a file of something else."""
    tower = {key.removeprefix("vision_model."): tensor for key, tensor in state.items()}
    patches = tower.get("embeddings.patch_embedding.weight")
    positions = tower.get("embeddings.position_embedding.weight")
    hidden = tower.get("encoder.layers.0.mlp.fc1.bias")
    if patches is None or positions is None or hidden is None or patches.ndim != 4:
        return {}  # loading says what is missing
    width, _, _, patch = patches.shape
    return {
        "hidden_size": width,
        "patch_size": patch,
        "image_size": math.isqrt(len(positions)) * patch,  # a class token more changes no whole root
        "intermediate_size": len(hidden),
        "num_hidden_layers": count_blocks(tower, "encoder.layers."),
        "num_attention_heads": published_heads(f"{encoder}: {file}", width, heads),
    }


def _projected(output: Any) -> Tensor:
    return output.image_embeds


def _pooled(output: Any) -> Tensor:
    return output.pooler_output


def _class_token(output: Any) -> Tensor:
    return output.last_hidden_state[:, 0]


def _mean_patch(output: Any) -> Tensor:
    """Without the class token, which comes first."""
    return output.last_hidden_state[:, 1:].mean(dim=1, dtype=torch.float32)
