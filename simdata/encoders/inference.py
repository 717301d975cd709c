"""Running a pretrained model: device, precision, batches. What every encoder with weights shares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from simdata.common.errors import UserError
from simdata.encoders.base import Settings


class ModelSettings(Settings):
    """What a user may choose of an encoder with weights.

    ``weights`` None looks in the cache of those who publish the model. ``layer`` counts transformer blocks
    from 1; None is the model's own output, behind its final norm. ``amp`` "auto" is bf16 on a GPU that has
    it, and float32 elsewhere.
    """

    weights: Path | None = None
    layer: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] = 8
    device: Literal["auto", "cpu", "cuda"] = "auto"
    amp: Literal["auto", "off", "bf16", "fp16"] = "auto"
    compile: bool = False


class Inference:
    """Calls a model in batches on a device.

    Parameters
    ----------
    encoder : its name, for messages
    model : moved to the device and put in evaluation mode
    """

    def __init__(self, encoder: str, model: nn.Module, settings: ModelSettings) -> None:
        self.device = _device(encoder, settings.device)
        self.dtype = _dtype(encoder, settings.amp, self.device)
        self._batch_size = settings.batch_size
        self.model = model.to(self.device).eval().requires_grad_(False)
        self._call = torch.compile(self.model) if settings.compile else self.model

    @property
    def precision(self) -> str:
        return str(self.dtype or torch.float32).removeprefix("torch.")

    def to_device(self, array: np.ndarray) -> Tensor:
        """A copy of an array on the device, in its own dtype, through pinned memory where that helps."""
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor

    @torch.inference_mode()
    def __call__(
        self, count: int, inputs: Callable[[slice], Tensor], outputs: Callable[[Any], Tensor], **options: Any
    ) -> np.ndarray:
        """(count, features) float32, in batches.

        Parameters
        ----------
        inputs : rows -> the model's input for them, on the device
        outputs : what the model returns -> (rows, features)
        options : passed to the model
        """
        rows = []
        for start in range(0, count, self._batch_size):
            batch = inputs(slice(start, min(start + self._batch_size, count)))
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
                rows.append(outputs(self._call(batch, **options)).float())
        return torch.cat(rows).cpu().numpy()


def _device(encoder: str, name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{encoder}: device=cuda: torch finds no CUDA device here; use auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _dtype(encoder: str, amp: str, device: torch.device) -> torch.dtype | None:
    if amp == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else None
    if amp == "fp16" and device.type != "cuda":
        raise UserError(f"{encoder}: amp=fp16 needs a CUDA device; use off or bf16 on a CPU")
    return {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]
