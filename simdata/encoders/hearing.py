"""What a speech model hears when it makes a row: the window alone, or the film around it too.

``context=window`` gives the model each window by itself, as published. A row knows nothing outside its
window, and words are cut at its edges. Windows that overlap share no work: attention, and norms over time,
mix all that is in a window, so that a second has other values in each. The model hears every second of the
film ``window / stride`` times.

``context=span`` gives the model a block of the film with `CONTEXT` s before and after it, as far as there is
sound; a row is the mean of the frames whose centres lie in its window. Words are heard whole, and the model
hears every second about 1.4 times. But a row knows of the film before and after its window too, which
matters where neighbouring clips must not know of each other.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

import numpy as np
from torch import Tensor

from simdata.common.film_clock import AUDIO_RATE, BLOCK
from simdata.encoders.base import AudioEncoder
from simdata.encoders.inference import Inference, ModelSettings

CONTEXT = 5  # s: a sentence or so


class HearingSettings(ModelSettings):
    """``context`` is what the model hears of the film, as `simdata.encoders.hearing` says."""

    context: Literal["window", "span"] = "window"


class HearingEncoder(AudioEncoder):
    """An audio encoder that hears windows alone or in their context; a subclass sets ``_inference``."""

    Settings = HearingSettings
    settings: HearingSettings
    _inference: Inference

    def __init__(self, settings: HearingSettings | None = None) -> None:
        super().__init__(settings)
        self.context = CONTEXT if self.settings.context == "span" else 0

    def encode(self, span: np.ndarray, starts: np.ndarray) -> np.ndarray:
        sound = self._inference.to_device(span)  # once: windows are views of it
        starts = np.asarray(starts, dtype=np.int64)
        if self.context:
            return self._encode_span(sound, starts)
        windows = sound.unfold(0, self.window * AUDIO_RATE, AUDIO_RATE)
        return self._encode_windows(windows, self._inference.to_device(starts))

    @abstractmethod
    def _encode_windows(self, windows: Tensor, index: Tensor) -> np.ndarray:
        """Rows of ``windows[index]``: (seconds, samples) float32 and (n,) int64, both on the device."""

    @abstractmethod
    def _encode_span(self, sound: Tensor, starts: np.ndarray) -> np.ndarray:
        """Rows that begin ``starts`` s into ``sound``: (samples,) float32, on the device."""

    def hearing(self) -> dict[str, Any]:
        """What of `parameters` says what the model hears."""
        if not self.context:
            return {"context": "window: the model hears nothing else"}
        return {
            "context": "span: the model hears a block of the film, and some before and after it",
            "context_s": self.context,
            "block_s": BLOCK,
        }
