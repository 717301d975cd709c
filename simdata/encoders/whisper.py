"""Whisper's encoder: a model of speech in many languages that hears 30 s of log-mel power.

Radford et al. 2022, arXiv 2212.04356; model and weights are those of the Hugging Face hub. A row is the mean
of the encoder's frames in the window, behind the final norm.

Whisper takes 30 s and no less: it was trained on shorter sound padded with silence to that, and so are the
windows here; frames of the padding are left out of the mean. `simdata.encoders.hearing` says what else the
model may hear. A window alone costs it 30 s of work. In their context, windows share stretches of 30 s, in
which each has the context asked for or more: a block of 32 s costs 60 s. Frames are 20 ms, and frame k is
centred on k * 20 ms.
"""

from __future__ import annotations

from functools import partial
from operator import eq
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from simdata.common.checksum import sha256
from simdata.common.film_clock import AUDIO_RATE
from simdata.encoders.hearing import HearingEncoder, HearingSettings
from simdata.encoders.huggingface import count_blocks, first_blocks, load_pretrained, read_config
from simdata.encoders.inference import Inference
from simdata.encoders.processor_files import ProcessorFile
from simdata.encoders.weights import HubModel, load_state

SOURCE = HubModel("openai/whisper-base")
FLOOR = 1e-10  # power of a band, of full scale: what is less counts as this
RANGE = 8.0  # powers of ten under the loudest band, beneath which nothing is told apart


class Whisper(HearingEncoder):
    """Mean over the window's frames of the encoder's output: (n, 512) float32 for whisper-base."""

    encoder = "whisper"
    summary = "Whisper base's encoder, trained to transcribe 680,000 h of speech in many languages"

    def __init__(self, settings: HearingSettings | None = None) -> None:
        super().__init__(settings)
        self._file = SOURCE.find(self.encoder, self.settings.weights)
        state = {key.removeprefix("model."): tensor for key, tensor in load_state(self._file).items()}
        state = {key.removeprefix("encoder."): tensor for key, tensor in state.items()}
        model = load_pretrained(
            self.encoder,
            WhisperEncoder,
            WhisperConfig,
            self._file,
            unused=("decoder.", "proj_out."),
            state=state,
            config=read_config(self.encoder, WhisperConfig, self._file) or _sizes(state),
        )
        self._blocks = len(model.layers)
        model.layers = first_blocks(self.encoder, model.layers, self.settings.layer)
        if self.settings.layer:
            model.set_submodule("layer_norm", nn.Identity())  # it is the last block's
        self.features = model.config.d_model
        self.weights_sha256 = sha256(self._file)
        self._inference = Inference(self.encoder, model, self.settings)

        mel = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)
        self._processor = _check_processor(self.encoder, self._file, mel)
        self._fft, self._hop = mel.n_fft, mel.hop_length
        self._filters = self._inference.to_device(mel.mel_filters.T.astype(np.float32))
        self._taper = torch.hann_window(self._fft, device=self._inference.device)
        # Two convolutions lead from mel to the encoder's frames.
        self._frame_rate = AUDIO_RATE // (self._hop * model.conv1.stride[0] * model.conv2.stride[0])
        self._hears = model.config.max_source_positions // self._frame_rate  # s

    def log_mel(self, sound: Tensor) -> Tensor:
        """What the model takes: (n, samples) float32, padded with silence -> (n, bands, 100 frames a second).

        As transformers' WhisperFeatureExtractor, but on the device, and only the sound is transformed.
        """
        silence = self._hears * AUDIO_RATE - sound.shape[1]
        # The sound's last frames reach into the silence; the others of the silence are known.
        padded = pad(sound, (0, min(silence, self._fft)))
        spectrum = torch.stft(padded, self._fft, self._hop, window=self._taper, return_complex=True)
        log = (self._filters @ spectrum[..., :-1].abs() ** 2).clamp(min=FLOOR).log10()
        log = pad(log, (0, self._hears * AUDIO_RATE // self._hop - log.shape[-1]), value=np.log10(FLOOR))
        return (torch.maximum(log, log.amax(dim=(1, 2), keepdim=True) - RANGE) + 4) / 4

    def _encode_windows(self, windows: Tensor, index: Tensor) -> np.ndarray:
        def inputs(rows: slice) -> Tensor:
            return self.log_mel(windows[index[rows]])

        def outputs(output: Any) -> Tensor:
            frames = output.last_hidden_state[:, : self.window * self._frame_rate]
            return frames.mean(dim=1, dtype=torch.float32)

        return self._inference(len(index), inputs, outputs)

    def _encode_span(self, sound: Tensor, starts: np.ndarray) -> np.ndarray:
        begins, stretch = self._stretches(starts, len(sound) // AUDIO_RATE)
        length = self._hears * AUDIO_RATE
        stretches = pad(sound, (0, length)).unfold(0, length, AUDIO_RATE)
        index = self._inference.to_device(begins)

        def inputs(rows: slice) -> Tensor:
            return self.log_mel(stretches[index[rows]])

        def outputs(output: Any) -> Tensor:
            seconds = output.last_hidden_state.unflatten(1, (self._hears, self._frame_rate))
            return seconds.mean(dim=2, dtype=torch.float32)

        # All seconds have as many frames: the mean of a window's seconds is that of its frames.
        seconds = self._inference(len(begins), inputs, outputs)
        places = (starts - begins[stretch])[:, None] + np.arange(self.window)
        return seconds[stretch[:, None], places].mean(axis=1)

    def _stretches(self, starts: np.ndarray, seconds: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the model's stretches of the sound begin, and for each window which one it is heard in."""
        begins: list[int] = []
        stretch = []
        for start in starts.tolist():
            first, last = max(0, start - self.context), min(start + self.window + self.context, seconds)
            if not begins or first < begins[-1] or last > begins[-1] + self._hears:
                begins.append(first)
            stretch.append(len(begins) - 1)
        return np.array(begins), np.array(stretch)

    def parameters(self) -> dict[str, Any]:
        return {
            "architecture": f"Whisper encoder: {self._blocks} blocks, {self.features} features",
            "weights": self._file.name,
            "layer": self.settings.layer or "last, behind the final norm",
            "pooling": "mean over the window's frames",
            "frames_per_second": self._frame_rate,
            "input": f"padded with silence to {self._hears} s",
            "mel_bands": len(self._filters),
            "processor": self._processor,
            "normalisation": "log10 of mel power, at most 8 under its highest value; (it + 4) / 4",
            "precision": self._inference.precision,
            **self.hearing(),
        }


def _sizes(state: dict[str, Tensor]) -> WhisperConfig | None:
    """The sizes that the shapes in a file tell, without config.json; all published heads have 64 features."""
    mel, positions = state.get("conv1.weight"), state.get("embed_positions.weight")
    hidden = state.get("layers.0.fc1.bias")
    if mel is None or positions is None or hidden is None or mel.ndim != 3 or positions.ndim != 2:
        return None  # loading says what is missing
    return WhisperConfig(
        num_mel_bins=mel.shape[1],
        d_model=len(mel),
        encoder_layers=count_blocks(state, "layers."),
        encoder_attention_heads=max(1, len(mel) // 64),
        encoder_ffn_dim=len(hidden),
        max_source_positions=len(positions),
    )


def _check_processor(encoder: str, file: Path, mel: WhisperFeatureExtractor) -> str:
    """Where the settings of ``mel`` come from.

    Raises
    ------
    UserError
        If a file beside the weights says others: the model was trained with all of them.
    """
    found = ProcessorFile.find(encoder, file, "feature_extractor")
    if found is None:
        return "the publisher's defaults: no file beside the weights says otherwise"
    wanted = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": mel.feature_size,
        "sampling_rate": mel.sampling_rate,
        "hop_length": mel.hop_length,
        "n_fft": mel.n_fft,
        "chunk_length": mel.chunk_length,
        "n_samples": mel.n_samples,
        "nb_max_frames": mel.nb_max_frames,
        "padding_value": 0,
        "padding_side": "right",
        "dither": 0,
    }
    for key, value in wanted.items():
        found.take(key, partial(eq, value), f"only {value}")
    if found.flag("do_normalize", False):
        raise found.refused("do_normalize", True, "the waveform is taken as it is, as published")
    # An encoder pays no attention to the mask; filters follow from the other settings.
    found.refuse_rest({"return_attention_mask", "mel_filters"})
    return f"{found.name}, which agrees with the model"
