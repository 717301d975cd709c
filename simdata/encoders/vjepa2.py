"""V-JEPA 2: a video transformer that learnt to predict the features of masked patches (arXiv 2506.09985).

A clip's embedding is the mean of the encoder's tokens behind its final norm; the predictor does not run. Its
positions are rotary, so that it takes any even number of frames: its training ended with 64, and 16 make a
quarter of the patches. All of the picture's shorter side is seen; the published code cuts that to 7/8.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field
from torch import nn
from transformers import VJEPA2Config, VJEPA2Model

from simdata.encoders.base import Grid, uniform_frames
from simdata.encoders.huggingface import first_blocks, load_pretrained
from simdata.encoders.inference import ModelSettings
from simdata.encoders.pixels import PixelEncoder, mean_token
from simdata.encoders.weights import HubModel
from simdata.errors import UserError


class VJEPA2Settings(ModelSettings):
    """``frames`` are taken from the window, in the middles of equal parts."""

    frames: Annotated[int, Field(ge=2, le=64)] = 16


class VJEPA2(PixelEncoder):
    """Mean of the encoder's tokens: (n, 1024) float32."""

    encoder = "vjepa2"
    summary = "V-JEPA 2 ViT-L, self-supervised on a million hours of video (transformers)"
    hub = HubModel("facebook/vjepa2-vitl-fpc64-256")
    Settings = VJEPA2Settings
    settings: VJEPA2Settings

    def __init__(self, settings: VJEPA2Settings | None = None) -> None:
        super().__init__(settings)
        file, frames, layer = self._find(), self.settings.frames, self.settings.layer
        unused = ("pooler.", "classifier.")  # of a fine-tuned model
        whole = load_pretrained(self.encoder, VJEPA2Model, VJEPA2Config, file, unused=unused)
        config, model = whole.config, whole.encoder
        if frames % config.tubelet_size:
            raise UserError(
                f"{self.encoder}: frames={frames}: the model takes frames by {config.tubelet_size}; "
                "choose a multiple of that"
            )
        model.layer = first_blocks(self.encoder, model.layer, layer)
        if layer is not None:
            model.layernorm = nn.Identity()
        rate, phase, self._index = uniform_frames(frames, self.window)
        self.grid = Grid(rate, (config.crop_size, config.crop_size), "crop", phase)
        self.features = config.hidden_size
        pooling = f"mean of the tokens behind {f'block {layer}' if layer else 'the final layer norm'}"
        self._run(file, model, mean_token, architecture="V-JEPA 2 encoder", frames=frames, pooling=pooling)

    def encode(self, span: np.ndarray, starts: np.ndarray) -> np.ndarray:
        return self._embed(span, np.asarray(starts)[:, None] * self.grid.rate + self._index)
