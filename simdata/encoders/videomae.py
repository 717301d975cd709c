"""VideoMAE: a video transformer that learnt to fill in masked patches of 16 frames (arXiv 2203.12602).

SIM (arXiv 2501.16471) took MMAction2's base model, fine-tuned on Kinetics-400. Files of MMAction2 and of
transformers are read. As published, a clip's embedding is the mean of its patches' tokens, normalised:

- fine-tuned models have a norm behind the mean, ``fc_norm``. Its epsilon is in no file: 1e-6 in MMAction2 and
  in the original code, 1e-5 in transformers. Here it is that of the library whose file it is.
- models that were only pretrained have no such norm, but one of each token, whose output is averaged.
- a file with neither (transformers' VideoMAEModel, saved from a fine-tuned one) gives the mean as it is.

`VideoMAE.parameters` says in ``pooling`` which of them it was.

Pictures are chosen and prepared as the library does it whose file it is. MMAction2: every fourth one of the
film, in the middle of the window, resized without smoothing. transformers: from the window's first to its
last, prepared as the file of its processor says.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn
from transformers import VideoMAEConfig, VideoMAEForVideoClassification, VideoMAEModel

from simdata.common.errors import UserError
from simdata.encoders import mmaction
from simdata.encoders.huggingface import first_blocks, height_and_width, load_pretrained, read_config
from simdata.encoders.pixels import ClipEncoder, ClipSettings, mean_token
from simdata.encoders.preprocessing import IMAGENET, Preprocessing
from simdata.encoders.weights import HubModel, load_state
from simdata.encoders.window_frames import Rule

HEADS = ("classifier.", "decoder.", "encoder_to_decoder.", "mask_token")  # what training needed


class VideoMAE(ClipEncoder):
    """Mean of the tokens of 16 frames of the window: (n, 768) float32."""

    encoder = "videomae"
    summary = "VideoMAE base, fine-tuned on Kinetics-400: SIM's video encoder (transformers or MMAction2)"
    hub = HubModel("MCG-NJU/videomae-base-finetuned-kinetics")
    processors = "VideoMAE"
    video = True

    def __init__(self, settings: ClipSettings | None = None) -> None:
        super().__init__(settings)
        file = self._find()
        model, norm, from_mmaction = load_model(self.encoder, file)
        config, layer = model.config, self.settings.layer
        model.encoder.layer = first_blocks(self.encoder, model.encoder.layer, layer)
        outputs: Callable[[Any], Tensor] = mean_token
        if layer is not None:
            model.layernorm = None
            pooling = f"mean of the tokens behind block {layer}"
        elif norm is not None:
            outputs = _normed_mean(norm)
            pooling = f"mean of the tokens, then layer norm (fc_norm, epsilon {norm.eps:g})"
        elif model.layernorm is not None:
            pooling = "mean of the tokens behind the final layer norm"
        else:
            pooling = "mean of the tokens; the file has no final norm"
        rule = Rule("interval", mmaction.INTERVAL) if from_mmaction else Rule("linspace")
        wanted = self._take(config.num_frames, rule)
        if self._frames != config.num_frames:
            raise UserError(
                f"{self.encoder}: frames={self.settings.frames}: the model takes {config.num_frames} frames"
            )
        size = height_and_width(config.image_size)
        self._see(file, _published(size, from_mmaction), size, **wanted)
        self.features = config.hidden_size
        self._run(file, model, config, outputs, architecture="VideoMAE", pooling=pooling)


def _published(size: tuple[int, int], from_mmaction: bool) -> Preprocessing:
    if from_mmaction:
        return Preprocessing(
            min(size),
            size,
            "bilinear",
            *IMAGENET,
            antialias=False,
            long_side="round",
            source="MMAction2's configuration of the model; no file beside the weights says otherwise",
        )
    return Preprocessing(min(size), size, "bilinear", *IMAGENET)


def _normed_mean(norm: nn.Module) -> Callable[[Any], Tensor]:
    return lambda output: norm(mean_token(output))


class Loaded(NamedTuple):
    """The transformer, and the norm of its mean token, None if the file has none."""

    model: VideoMAEModel
    norm: nn.LayerNorm | None
    from_mmaction: bool


def load_model(encoder: str, file: Path) -> Loaded:
    """Read a file of transformers or of MMAction2.

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
    normed = any(key.removeprefix("videomae.").startswith("layernorm.") for key in state)
    # transformers' words for: without a norm of each token, and without a classifier.
    config.use_mean_pooling, config.num_labels = not normed, 0
    model, norm = _transformer(encoder, file, state, config)
    if norm is not None:
        model.add_module("fc_norm", norm)  # so that it goes to the device with the model
        if from_mmaction:
            norm.eps = mmaction.EPSILON
    # transformers leaves the positions on the CPU, and would send them to the device with every batch.
    embeddings = model.embeddings
    positions = embeddings.position_embeddings if positions is None else positions
    del embeddings.position_embeddings
    embeddings.register_buffer("position_embeddings", positions, persistent=False)
    return Loaded(model, norm, from_mmaction)


def _transformer(
    encoder: str, file: Path, state: dict[str, Tensor], config: VideoMAEConfig
) -> tuple[VideoMAEModel, nn.LayerNorm | None]:
    """The transformer with its weights, and the norm of a fine-tuned one."""
    if "fc_norm.weight" in state:
        whole = load_pretrained(
            encoder,
            VideoMAEForVideoClassification,
            VideoMAEConfig,
            file,
            unused=HEADS,
            state=state,
            config=config,
        )
        return whole.videomae, whole.fc_norm
    model = load_pretrained(
        encoder, VideoMAEModel, VideoMAEConfig, file, unused=HEADS, state=state, config=config
    )
    return model, None


def _sizes(encoder: str, file: Path, state: dict[str, Tensor]) -> VideoMAEConfig:
    """The sizes that shapes in a file of transformers tell; pictures are 224 x 224, which they do not."""
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
