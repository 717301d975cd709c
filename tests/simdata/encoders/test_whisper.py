import json

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperModel

from simdata.common.errors import UserError
from simdata.common.film_clock import AUDIO_RATE
from simdata.encoders.whisper import Whisper

LOUDNESS = np.repeat(
    np.random.default_rng(1).uniform(0.01, 0.3, 176), AUDIO_RATE // 4
)  # changes 4 times a second
SOUND = (LOUDNESS * np.random.default_rng(0).standard_normal(44 * AUDIO_RATE)).astype(np.float32)
FEATURES = WhisperFeatureExtractor()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """transformers' model, and a folder with its weights and config, as the hub has them."""
    config = WhisperConfig(
        vocab_size=20,
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=16,
        pad_token_id=0,
    )
    torch.manual_seed(1)
    model = WhisperForConditionalGeneration(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp("whisper")
    model.save_pretrained(folder)
    return model.model, folder


def create(made, **settings):
    return Whisper(Whisper.Settings(weights=made[1], amp="off", device="cpu", **settings))


@torch.inference_mode()
def by_transformers(model, sound, layer=None):
    """(1500 frames, features) of the encoder or of a block of it, as one calls transformers."""
    blocks = []
    hooks = [
        block.register_forward_hook(lambda *call: blocks.append(call[-1])) for block in model.encoder.layers
    ]
    mel = FEATURES(sound, sampling_rate=AUDIO_RATE, return_tensors="pt").input_features
    output = model.encoder(mel).last_hidden_state
    for hook in hooks:
        hook.remove()
    return (output if layer is None else blocks[layer - 1])[0].numpy()


def clip(second, window=3):
    return SOUND[second * AUDIO_RATE : (second + window) * AUDIO_RATE]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_rows_are_transformers_own_of_each_clip(made, batch_size):
    encoder = create(made, batch_size=batch_size)
    rows = encoder.encode(clip(0, 8), np.arange(6))
    assert rows.shape == (6, encoder.features) == (6, 32)
    assert rows.dtype == np.float32
    expected = [by_transformers(made[0], clip(second))[:150].mean(axis=0) for second in range(6)]
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)


def test_rows_do_not_depend_on_the_span(made):
    encoder = create(made, window=5, stride=2)
    together = encoder.encode(SOUND, np.array([0, 2, 39]))
    apart = [encoder.encode(clip(second, 5), np.array([0]))[0] for second in (0, 2, 39)]
    np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [1, 2])
def test_a_layer_is_the_output_of_that_block(made, layer):
    encoder = create(made, layer=layer)
    (row,) = encoder.encode(clip(0), np.array([0]))
    expected = by_transformers(made[0], clip(0), layer)[:150].mean(axis=0)
    np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)
    own = create(made).encode(clip(0), np.array([0]))
    assert np.abs(row - own).max() > 1e-2  # the last block's output is not the model's: a norm follows


@pytest.mark.parametrize("seconds", [1, 3, 16, 29, 30])
def test_log_mel_is_that_of_transformers(made, seconds):
    sound = np.stack([clip(0, seconds), 1e-4 * clip(1, seconds), np.zeros_like(clip(0, seconds))])
    expected = FEATURES(list(sound), sampling_rate=AUDIO_RATE, return_tensors="pt").input_features
    torch.testing.assert_close(create(made).log_mel(torch.from_numpy(sound)), expected, rtol=0, atol=1e-5)


def test_in_context_windows_share_stretches_of_30_s(made):
    encoder = create(made, context="span")
    assert (encoder.context, create(made).context) == (5, 0)
    # A block of 32 s from the second 5 on, with 5 s before and after it: 22 is the last that the first hears.
    starts = np.array([5, 6, 22, 23, 36])
    rows = encoder.encode(SOUND, starts)
    first, second = by_transformers(made[0], clip(0, 30)), by_transformers(made[0], clip(18, 26))
    heard = [(first, 5), (first, 6), (first, 22), (second, 23 - 18), (second, 36 - 18)]
    expected = [frames[50 * second : 50 * (second + 3)].mean(axis=0) for frames, second in heard]
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)


def test_every_window_is_heard_in_its_context(made):
    encoder = create(made, context="span", window=16)
    starts = np.arange(29)
    begins, stretch = encoder._stretches(starts, 44)
    before = starts - begins[stretch]
    assert (before >= np.minimum(starts, 5)).all()
    assert (before + 16 + 5 <= 30)[starts + 21 <= 44].all()
    assert (starts + 16 <= begins[stretch] + 30).all()
    short = encoder.encode(clip(0, 16), np.array([0]))
    expected = by_transformers(made[0], clip(0, 16))[: 16 * 50].mean(axis=0)
    np.testing.assert_allclose(short[0], expected, rtol=1e-4, atol=1e-5)


def test_parameters_say_what_decides_the_values(made):
    parameters = json.loads(json.dumps(create(made, layer=1, context="span").parameters()))
    assert parameters["architecture"] == "Whisper encoder: 2 blocks, 32 features"
    assert (parameters["weights"], parameters["layer"]) == ("model.safetensors", 1)
    assert (parameters["precision"], parameters["frames_per_second"]) == ("float32", 50)
    assert (parameters["context"][:4], parameters["context_s"]) == ("span", 5)
    assert parameters["input"] == "padded with silence to 30 s"


def test_a_file_without_a_prefix_loads_too(made, tmp_path):
    WhisperModel.from_pretrained(made[1]).save_pretrained(tmp_path)
    rows = create((None, tmp_path)).encode(clip(0), np.array([0]))
    np.testing.assert_array_equal(rows, create(made).encode(clip(0), np.array([0])))


def test_missing_weights_say_where_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"whisper: no weights.*openai/whisper-base.*hf download"):
        Whisper()


def test_weights_that_do_not_fit_are_named(made, tmp_path):
    state = made[0].state_dict()
    (tmp_path / "config.json").write_text((made[1] / "config.json").read_text())
    file = tmp_path / "pytorch_model.bin"
    file.write_text("no checkpoint")
    with pytest.raises(UserError, match=r"pytorch_model\.bin: cannot be read as weights"):
        create((None, tmp_path))
    del state["encoder.conv1.bias"]
    torch.save(state | {"encoder.conv2.bias": torch.ones(3), "encoder.more": torch.ones(1)}, file)
    with pytest.raises(UserError, match=r"whisper: .*does not fit WhisperEncoder") as raised:
        create((None, tmp_path))
    for part in ("missing: conv1.bias", "unexpected: more", "conv2.bias (has (3,), needs (32,))"):
        assert part in str(raised.value)


def test_a_layer_that_is_not_there_is_an_error(made):
    with pytest.raises(UserError, match="layer=3: the model has 2 blocks; choose 1 to 2"):
        create(made, layer=3)
