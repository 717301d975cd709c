"""What an encoder is: a film's pictures or sound in, one embedding for every second's window out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np


class Encoder(ABC):
    """Makes row s of an embedding array from the window [s, s + window) seconds of a film.

    A row depends on its own window alone, whatever span of the film it is computed in.

    Attributes
    ----------
    name : names the array ``<modality>_<name>`` and its last dimension ``<name>_feature``
    features : length of a row
    window, stride : seconds
    """

    name: ClassVar[str]
    modality: ClassVar[str]
    features: int
    window: int = 3
    stride: int = 1

    @abstractmethod
    def encode(self, span: np.ndarray, rows: int) -> np.ndarray:
        """(rows, features) float32 from a span that holds at least ``rows + window - 1`` seconds."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """What else decides the values: kept in the array's attributes."""

    def attributes(self) -> dict[str, Any]:
        """Attributes of the array in the store."""
        return {
            "long_name": f"{self.modality} embedding of the {self.window} s that begin with this second",
            "encoder": self.name,
            "modality": self.modality,
            "window": self.window,
            "stride": self.stride,
            "weights_sha256": "",
            "end_of_film": "rows whose window is not wholly inside the film are NaN",
            "parameters": self.parameters(),
        }


class VideoEncoder(Encoder):
    """Its span is (seconds * rate, *size, 3) uint8 RGB, the pictures on screen at times k / rate."""

    modality = "video"
    rate: int
    size: tuple[int, int]


class AudioEncoder(Encoder):
    """Its span is (seconds * 16000,) float32, mono."""

    modality = "audio"
