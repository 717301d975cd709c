"""What the video encoders with weights share: from a span's pictures to what a pretrained model sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedConfig

from simdata.common.checksum import sha256
from simdata.common.errors import UserError
from simdata.encoders.base import VideoEncoder
from simdata.encoders.inference import Inference, ModelSettings
from simdata.encoders.preprocessing import Preprocessing, read_preprocessing
from simdata.encoders.weights import HubModel
from simdata.encoders.window_frames import Frames, Rule, Setting

COLOURS = "RGB by the film's own tags; without any BT.709 from HD sizes on, BT.601 below"


class PixelSettings(ModelSettings):
    """``resize`` "exact" is what the model's publisher does, to the level; "fast" is FFmpeg's own scaling."""

    resize: Annotated[
        Literal["exact", "fast"],
        Field(description="exact: as the publisher's processor; fast: by FFmpeg while decoding"),
    ] = "exact"


class ClipSettings(PixelSettings):
    """Settings with ``frames``: how many pictures of a window are taken, and which (`window_frames`)."""

    frames: Setting = None


class PixelEncoder(VideoEncoder):
    """A video encoder whose model sees normalised pictures.

    A subclass's constructor finds the file of weights with `_find`, says with `_see` which pictures it wants,
    sets ``features``, and ends with `_run`.

    Attributes
    ----------
    hub : where the weights are looked for by default
    processors : class of the publisher's processors, for files that do not name it
    video : whether these are processors of videos
    """

    Settings = PixelSettings
    settings: PixelSettings
    hub: ClassVar[HubModel]
    processors: ClassVar[str]
    video: ClassVar[bool] = False

    def _find(self) -> Path:
        return self.hub.find(self.encoder, self.settings.weights)

    def _see(self, file: Path, published: Preprocessing, size: tuple[int, int], **sampling: Any) -> None:
        """Ask for pictures of the model's ``size``, prepared as files beside ``file`` say, or as published.

        Raises
        ------
        UserError
            If these files say what is not supported, or what the model does not take.
        """
        self._preprocessing = read_preprocessing(
            self.encoder, file, published, self.processors, video=self.video
        )
        if self._preprocessing.seen != size:
            made, wanted = (f"{y} x {x}" for y, x in (self._preprocessing.seen, size))
            raise UserError(
                f"{self.encoder}: {file.parent}: pictures would be {made} ({self._preprocessing.source}), "
                f"and the model takes {wanted}; both must come from one model"
            )
        self.grid, self._margin = self._preprocessing.grid(self.encoder, self.settings.resize, **sampling)

    def _run(
        self,
        file: Path,
        model: nn.Module,
        config: PreTrainedConfig,
        outputs: Callable[[Any], Tensor],
        **stated: str | int,
    ) -> None:
        """Take a model of transformers, which gets (n, ..., 3, y, x) float32 pixels.

        Parameters
        ----------
        file : its weights
        outputs : what the model returns -> (n, features)
        stated : what else `parameters` says first: architecture, frames, pooling
        """
        self._file, self.weights_sha256, self._outputs = file, sha256(file), outputs
        self._stated = stated | {
            "blocks": config.num_hidden_layers,
            "width": config.hidden_size,
            "heads": config.num_attention_heads,
            "patch": config.patch_size,
            "norm_epsilon": config.layer_norm_eps,
            "activation": config.hidden_act,
        }
        self._inference = Inference(self.encoder, model, self.settings)
        # Of a line of the picture: along three colours alone, a CPU would take three times as long.
        width = self.grid.size[1] - 2 * self._margin
        self._scale, self._shift = (
            self._inference.to_device(np.tile(factor, width).astype(np.float32))
            for factor in self._preprocessing.scale_and_shift()
        )

    def _embed(self, span: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Features of pictures, or of clips of them.

        The span stays uint8 on the device, and only the batch in work is gathered and made float32: all
        clips of 64 s would be 0.6 GB. A picture that two windows share is made float32 for each, which costs
        next to nothing beside the model.

        Parameters
        ----------
        span : as `VideoEncoder` says
        places : (n,) or (n, frames) int, of pictures in the span

        Returns
        -------
        (n, features) float32
        """
        pictures = self._inference.to_device(span)
        if margin := self._margin:
            pictures = pictures[:, margin:-margin, margin:-margin]
        index = self._inference.to_device(places)
        return self._inference(len(places), lambda rows: self._pixels(pictures[index[rows]]), self._outputs)

    def _pixels(self, pictures: Tensor) -> Tensor:
        """(..., y, x, 3) uint8 to normalised (..., 3, y, x) float32, channels last in memory: not copied."""
        lines = pictures.flatten(-2).float().mul_(self._scale).add_(self._shift)
        return lines.unflatten(-1, (-1, 3)).movedim(-1, -3)

    def parameters(self) -> dict[str, Any]:
        return {
            **self._stated,
            "weights": self._file.name,
            "picture_size": list(self._preprocessing.seen),
            "colours": COLOURS,
            **self._preprocessing.attributes(self.settings.resize),
            "layer": self.settings.layer,
            "precision": self._inference.precision,
        }


class ClipEncoder(PixelEncoder):
    """A model of clips: each row is made of some of its window's pictures, together."""

    Settings = ClipSettings
    settings: ClipSettings

    def _take(self, number: int, rule: Rule) -> dict[str, Any]:
        """The user's frames, for `_see`; where these leave it open, the publisher's."""
        own = self.settings.frames or Frames()
        self._frames, self._rule = own.number or number, own.rule or rule
        self._places = self._rule.places(self._frames, self.window)
        return self._rule.pictures(self._frames, self.window)

    def encode(self, span: np.ndarray, starts: np.ndarray) -> np.ndarray:
        return self._embed(span, np.asarray(starts)[:, None] * self.grid.rate + self._places)

    def parameters(self) -> dict[str, Any]:
        stated = super().parameters()
        return {**stated, "frames": self._frames, "frames_taken": self._rule.text(self._frames, self.window)}


def mean_token(output: Any) -> Tensor:
    """(n, features) float32, in whatever precision the model returned its (n, tokens, features)."""
    return output.last_hidden_state.mean(dim=1, dtype=torch.float32)
