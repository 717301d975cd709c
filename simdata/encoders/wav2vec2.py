"""wav2vec 2.0, HuBERT and WavLM: models of speech that hear the waveform itself.

Baevski et al. 2020, arXiv 2006.11477; Hsu et al. 2021, arXiv 2106.07447; Chen et al. 2022, arXiv 2110.13900.
Models and weights are torchaudio's. A row is the mean over time of the last transformer block's output, which
is what SIM (arXiv 2501.16471) takes of wav2vec 2.0. These base models have no norm behind that block, and the
head that spells letters is left out. The waveform goes in as it is, because the three were trained so.

`simdata.encoders.hearing` says what the model hears. The first convolution is normalised over all of it, so
that a loud second changes the values of the others. A frame hears 25 ms and the next one begins 20 ms later:
a window of 3 s alone has 149 frames, and in its context 150, those whose centres lie in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from simdata.common.checksum import sha256
from simdata.common.film_clock import AUDIO_RATE
from simdata.encoders import torchaudio_models
from simdata.encoders.hearing import HearingEncoder, HearingSettings
from simdata.encoders.huggingface import first_blocks
from simdata.encoders.inference import Inference
from simdata.encoders.processor_files import ProcessorFile

VARIANCE_FLOOR = 1e-7  # as transformers' Wav2Vec2FeatureExtractor adds it


class Wav2Vec2(HearingEncoder):
    """Mean over the window's frames of a transformer block's output: (n, 768) float32."""

    encoder = "wav2vec2"
    summary = "wav2vec 2.0 base, trained to transcribe 960 h of speech: the audio encoder of SIM"
    bundle: ClassVar[str] = "WAV2VEC2_ASR_BASE_960H"

    def __init__(self, settings: HearingSettings | None = None) -> None:
        super().__init__(settings)
        self._file = torchaudio_models.source(self.bundle).find(self.encoder, self.settings.weights)
        model = torchaudio_models.load_pretrained(self.encoder, self.bundle, self._file)
        transformer = model.encoder.transformer
        self._blocks = len(transformer.layers)
        transformer.layers = first_blocks(self.encoder, transformer.layers, self.settings.layer)
        self._frame_stride, self._frame_length = torchaudio_models.frame_timing(model)
        self.features = model.encoder.feature_projection.projection.out_features
        self._normalised, self._processor = _normalised(self.encoder, self._file)
        self.weights_sha256 = sha256(self._file)
        self._inference = Inference(self.encoder, model, self.settings)

    def _encode_windows(self, windows: Tensor, index: Tensor) -> np.ndarray:
        def inputs(rows: slice) -> Tensor:
            return self._prepared(windows[index[rows]])

        def outputs(output: tuple[Tensor, None]) -> Tensor:
            return output[0].mean(dim=1, dtype=torch.float32)

        return self._inference(len(index), inputs, outputs)

    def _encode_span(self, sound: Tensor, starts: np.ndarray) -> np.ndarray:
        bounds = list(zip(self._first_frame(starts), self._first_frame(starts + self.window), strict=True))

        def outputs(output: tuple[Tensor, None]) -> Tensor:
            (frames,) = output[0]
            return torch.stack([frames[a:b].mean(dim=0, dtype=torch.float32) for a, b in bounds])

        return self._inference(1, lambda _: self._prepared(sound[None]), outputs)

    def _prepared(self, sound: Tensor) -> Tensor:
        """(n, samples) as the model takes them."""
        if not self._normalised:
            return sound
        variance, mean = torch.var_mean(sound, dim=1, correction=0, keepdim=True)
        return (sound - mean) / torch.sqrt(variance + VARIANCE_FLOOR)

    def _first_frame(self, seconds: np.ndarray) -> list[int]:
        """The first frame whose centre is not before these seconds."""
        before = (seconds * AUDIO_RATE - self._frame_length / 2) / self._frame_stride
        return np.maximum(np.ceil(before), 0).astype(int).tolist()

    def parameters(self) -> dict[str, Any]:
        return {
            "architecture": f"{self.bundle} of torchaudio: {self._blocks} blocks, {self.features} features",
            "weights": self._file.name,
            "layer": self.settings.layer or self._blocks,
            "pooling": "mean over the window's frames",
            "frame_stride_samples": self._frame_stride,
            "frame_length_samples": self._frame_length,
            "normalisation": (
                f"mean 0, variance 1 of all that the model hears (+ {VARIANCE_FLOOR:g})"
                if self._normalised
                else "none: the waveform as it is"
            ),
            "processor": self._processor,
            "precision": self._inference.precision,
            **self.hearing(),
        }


def _normalised(encoder: str, file: Path) -> tuple[bool, str]:
    """Whether the model wants its sound normalised, and where that is said.

    Raises
    ------
    UserError
        If a file beside the weights says what is not supported.
    """
    found = ProcessorFile.find(encoder, file, "feature_extractor")
    if found is None:
        return False, "torchaudio's defaults: no file beside the weights says otherwise"
    kinds = "Wav2Vec2FeatureExtractor", "WavLMFeatureExtractor", "HubertFeatureExtractor"
    found.take("feature_extractor_type", lambda kind: kind in kinds, "those of wav2vec 2.0 and its kin")
    found.take("feature_size", lambda size: size == 1, "only 1")
    found.take("sampling_rate", lambda rate: rate == AUDIO_RATE, f"only {AUDIO_RATE}")
    normalised = found.flag("do_normalize", True)  # as transformers has it where the file does not say
    # Windows are of one length: nothing is padded, and no mask needed.
    found.refuse_rest({"return_attention_mask", "padding_side", "padding_value"})
    return normalised, found.name


class HuBERT(Wav2Vec2):
    """A `Wav2Vec2` that was trained to tell clusters of sounds, without text."""

    encoder = "hubert"
    summary = "HuBERT base, self-supervised on 960 h of speech"
    bundle = "HUBERT_BASE"


class WavLM(Wav2Vec2):
    """A `Wav2Vec2` that was trained like HuBERT, on speech mixed with noise and with other speakers."""

    encoder = "wavlm"
    summary = "WavLM base+, self-supervised on 94,000 h of speech"
    bundle = "WAVLM_BASE_PLUS"
