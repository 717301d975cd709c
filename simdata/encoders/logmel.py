"""Log-mel statistics of the sound, without any weights to download."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from simdata.common.film_clock import AUDIO_RATE
from simdata.encoders.base import AudioEncoder

if TYPE_CHECKING:
    from torchaudio.transforms import MelSpectrogram

MELS = 64
FFT, HOP = 1024, 512  # samples: 64 ms and 32 ms
FLOOR = 1e-6  # power under which sound counts as silence: -60 dB


class LogMel(AudioEncoder):
    """Mean and s.d. over the window of log-mel power: (rows, 128) float32, means first.

    Mel filters are HTK's, from 0 to 8 kHz. Only frames that lie wholly inside the window count. torch is
    imported when it is needed: a process that only converts runs is half as large without.
    """

    encoder = "logmel"
    summary = "mean and s.d. of 64 log-mel bands; no weights"
    features = 2 * MELS

    @cached_property
    def _mel(self) -> MelSpectrogram:
        from torchaudio.transforms import MelSpectrogram

        return MelSpectrogram(AUDIO_RATE, n_fft=FFT, hop_length=HOP, n_mels=MELS, center=False, power=2.0)

    def encode(self, span: np.ndarray, starts: np.ndarray) -> np.ndarray:
        import torch

        # A second is no whole number of hops: each window has frames of its own.
        windows = torch.from_numpy(span).unfold(0, self.window * AUDIO_RATE, AUDIO_RATE)[starts]
        with torch.inference_mode():
            power = self._mel(windows) / FFT
            log = torch.log10(power + FLOOR)
            return torch.cat([log.mean(dim=-1), log.std(dim=-1, correction=0)], dim=1).numpy()

    def parameters(self) -> dict[str, Any]:
        return {
            "sampling_rate": AUDIO_RATE,
            "mel_bands": MELS,
            "fft_samples": FFT,
            "hop_samples": HOP,
            "power_floor": FLOOR,
            "statistics": "mean, then standard deviation, of log10 power",
        }
