"""From a span's pictures to what a pretrained model sees: what the video encoders with weights share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from simdata.checksum import sha256
from simdata.encoders.base import VideoEncoder
from simdata.encoders.inference import Inference, ModelSettings
from simdata.encoders.weights import HubModel

Statistics = tuple[float, float, float]  # of red, green and blue, full scale is 1
IMAGENET_MEAN: Statistics = (0.485, 0.456, 0.406)
IMAGENET_STD: Statistics = (0.229, 0.224, 0.225)


class PixelEncoder(VideoEncoder):
    """A video encoder whose model sees normalised pictures.

    A subclass's constructor finds the file of weights with `_find`, sets ``features`` and ``grid``, and ends
    with `_run`.

    Attributes
    ----------
    hub : where the weights are looked for by default
    mean, std : of the pictures that the model was trained with
    """

    Settings = ModelSettings
    settings: ModelSettings
    hub: ClassVar[HubModel]
    mean: ClassVar[Statistics] = IMAGENET_MEAN
    std: ClassVar[Statistics] = IMAGENET_STD

    def _find(self) -> Path:
        return self.hub.find(self.encoder, self.settings.weights)

    def _run(
        self, file: Path, model: nn.Module, outputs: Callable[[Any], Tensor], **stated: str | int
    ) -> None:
        """Take a model of transformers, which gets (n, ..., 3, y, x) float32 pixels.

        Parameters
        ----------
        file : its weights
        outputs : what the model returns -> (n, features)
        stated : what else `parameters` says first: architecture, frames, pooling
        """
        self._file, self.weights_sha256, self._outputs = file, sha256(file), outputs
        config = model.config
        self._stated = stated | {
            "blocks": config.num_hidden_layers,
            "width": config.hidden_size,
            "heads": config.num_attention_heads,
            "patch": config.patch_size,
            "norm_epsilon": config.layer_norm_eps,
        }
        self._inference = Inference(self.encoder, model, self.settings)
        mean, std = torch.tensor([self.mean, self.std], device=self._inference.device)
        # Of a line of the picture: along three colours alone, a CPU would take three times as long.
        width = self.grid.size[1]
        self._scale, self._shift = (1 / (255 * std)).repeat(width), (-mean / std).repeat(width)

    def _embed(self, span: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Features of pictures, or of clips of them.

        The span stays uint8 on the device, and only the batch in work is gathered and made float32: all
        clips of 64 s would be 0.6 GB. A picture that two windows share is made float32 for each, which costs
        next to nothing beside the model; of 16 frames in windows of 3 s, no two windows share any.

        Parameters
        ----------
        span : as `VideoEncoder` says
        places : (n,) or (n, frames) int, of pictures in the span

        Returns
        -------
        (n, features) float32
        """
        pictures = self._inference.to_device(span)
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
            "picture_rate_hz": self.grid.rate,
            "picture_phase": self.grid.phase,
            "picture_size": list(self.grid.size),
            "picture_fit": self.grid.fit,
            "layer": self.settings.layer,
            "precision": self._inference.precision,
            "normalisation": {"mean": list(self.mean), "std": list(self.std)},
        }


def mean_token(output: Any) -> Tensor:
    """(n, features) float32, in whatever precision the model returned its (n, tokens, features)."""
    return output.last_hidden_state.mean(dim=1, dtype=torch.float32)


def picture_size(size: int | list[int] | tuple[int, int]) -> tuple[int, int]:
    """(y, x) of a config's image size, which may be one number."""
    y, x = (size, size) if isinstance(size, int) else size
    return y, x
