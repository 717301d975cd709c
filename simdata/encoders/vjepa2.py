"""V-JEPA 2: a video transformer that learnt to predict the features of masked patches (arXiv 2506.09985).

A clip's embedding is the mean of the encoder's tokens behind its final norm; the predictor does not run. Its
positions are rotary, so that it takes any even number of frames; as published it is those of its config.json,
64 of the usual model. 16 make a quarter of the patches, and cost less than that. Where a window has fewer
pictures than the model takes frames, some are there several times.
"""

from __future__ import annotations

from torch import nn
from transformers import VJEPA2Config, VJEPA2Model

from simdata.common.errors import UserError
from simdata.encoders.huggingface import first_blocks, load_pretrained
from simdata.encoders.pixels import ClipEncoder, ClipSettings, mean_token
from simdata.encoders.preprocessing import IMAGENET, Preprocessing
from simdata.encoders.weights import HubModel
from simdata.encoders.window_frames import Rule


class VJEPA2(ClipEncoder):
    """Mean of the encoder's tokens: (n, 1024) float32."""

    encoder = "vjepa2"
    summary = "V-JEPA 2 ViT-L, self-supervised on a million hours of video (transformers)"
    hub = HubModel("facebook/vjepa2-vitl-fpc64-256")
    processors = "VJEPA2"
    video = True

    def __init__(self, settings: ClipSettings | None = None) -> None:
        super().__init__(settings)
        file, layer = self._find(), self.settings.layer
        if self.settings.weights and not file.with_name("config.json").is_file():
            raise UserError(
                f"{self.encoder}: {file}: no config.json lies beside it, and the file itself does not tell "
                "the model's heads, the size of its pictures and its frames: put the model's own there"
            )
        unused = ("pooler.", "classifier.")  # of a fine-tuned model
        whole = load_pretrained(self.encoder, VJEPA2Model, VJEPA2Config, file, unused=unused)
        config, model = whole.config, whole.encoder
        wanted = self._take(config.frames_per_clip, Rule("even"))
        if self._frames % config.tubelet_size:
            raise UserError(
                f"{self.encoder}: frames={self._frames}: the model takes frames by {config.tubelet_size}; "
                "choose a multiple of that"
            )
        model.layer = first_blocks(self.encoder, model.layer, layer)
        if layer is not None:
            model.set_submodule("layernorm", nn.Identity())
        crop = config.crop_size
        published = Preprocessing(int(crop * 256 / 224), (crop, crop), "bilinear", *IMAGENET)
        self._see(file, published, (crop, crop), **wanted)
        self.features = config.hidden_size
        pooling = f"mean of the tokens behind {f'block {layer}' if layer else 'the final layer norm'}"
        self._run(file, model, config, mean_token, architecture="V-JEPA 2 encoder", pooling=pooling)
