"""Encoders of sound against transformers' own extractor and model, from the film on.

The film's sound, mono PCM at 16 kHz, needs no decoding worth the name: both sides hear the same samples.
"""

import av
import numpy as np
import pytest
import torch
from torchaudio.models.wav2vec2.utils import import_huggingface_model
from transformers import (
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from simdata import encoders
from simdata.common.film_clock import AUDIO_RATE
from simdata.films.blocks import stimulus_blocks

SECONDS, WINDOW = 6, 3
SPEECH = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 80,
    "conv_dim": (24,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
WHISPER = {
    "vocab_size": 20,
    "d_model": 64,
    "encoder_layers": 1,
    "encoder_attention_heads": 1,
    "encoder_ffn_dim": 48,
    "decoder_layers": 1,
    "decoder_attention_heads": 1,
    "decoder_ffn_dim": 16,
    "pad_token_id": 0,
}


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A film, and its sound as PyAV gives it: (samples,) float32."""
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    rng = np.random.default_rng(0)
    loudness = np.repeat(rng.uniform(300, 9000, 4 * SECONDS), AUDIO_RATE // 4)
    samples = (loudness * rng.standard_normal(SECONDS * AUDIO_RATE)).clip(-32768, 32767).astype(np.int16)
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=AUDIO_RATE, layout="mono")
        for number in range(10 * SECONDS):
            grey = np.full((48, 64, 3), 4 * number, np.uint8)
            container.mux(picture.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(picture.encode())
        for start in range(0, len(samples), 1600):
            chunk = samples[None, start : start + 1600]
            frame = av.AudioFrame.from_ndarray(chunk, format="s16", layout="mono")
            frame.sample_rate, frame.pts = AUDIO_RATE, start
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    with av.open(str(path)) as container:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    return path, (heard / 32768).astype(np.float32)


def randomised(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def check(film, text, outputs):
    path, sound = film
    encoder = encoders.create(text)
    (block,) = stimulus_blocks(path, [encoder], [(0, SECONDS)])
    rows = block.embeddings[encoder.array][: SECONDS - WINDOW + 1]
    clips = [sound[s * AUDIO_RATE : (s + WINDOW) * AUDIO_RATE] for s in range(len(rows))]
    with torch.no_grad():
        expected = np.stack([outputs(clip).numpy() for clip in clips])
    np.testing.assert_allclose(rows, expected, rtol=1e-3, atol=1e-4)
    cosine = (rows * expected).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() >= 0.9999


@pytest.mark.parametrize("normalised", [False, True], ids=["as torchaudio", "as transformers' file says"])
@pytest.mark.parametrize(
    ("encoder", "kind", "config"),
    [
        ("wav2vec2", Wav2Vec2Model, Wav2Vec2Config),
        ("hubert", HubertModel, HubertConfig),
        ("wavlm", WavLMModel, WavLMConfig),
    ],
)
def test_models_of_the_wav2vec2_family(film, tmp_path, encoder, kind, config, normalised):
    model = randomised(kind(config(**SPEECH)))
    file = tmp_path / "weights.pth"
    torch.save(import_huggingface_model(model).state_dict(), file)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=normalised)
    if normalised:
        extractor.save_pretrained(tmp_path)

    def outputs(clip):
        inputs = extractor(clip, sampling_rate=AUDIO_RATE, return_tensors="pt").input_values
        return model(inputs).last_hidden_state[0].mean(dim=0)

    check(film, f"{encoder},weights={file}", outputs)


def test_whisper(film, tmp_path):
    model, extractor = randomised(WhisperModel(WhisperConfig(**WHISPER))), WhisperFeatureExtractor()
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)

    def outputs(clip):
        mel = extractor(clip, sampling_rate=AUDIO_RATE, return_tensors="pt").input_features
        return model.encoder(mel).last_hidden_state[0, : 50 * WINDOW].mean(dim=0)

    check(film, f"whisper,weights={tmp_path}", outputs)
