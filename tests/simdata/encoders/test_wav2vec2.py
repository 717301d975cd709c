import json
import re

import numpy as np
import pytest
import torch
from torchaudio import models, pipelines
from transformers import Wav2Vec2FeatureExtractor

from simdata.common.errors import UserError
from simdata.common.film_clock import AUDIO_RATE
from simdata.encoders import torchaudio_models
from simdata.encoders.wav2vec2 import HuBERT, Wav2Vec2, WavLM

ENCODERS = [Wav2Vec2, HuBERT, WavLM]
LOUDNESS = np.repeat(
    np.random.default_rng(1).uniform(0.01, 0.3, 36), AUDIO_RATE // 4
)  # changes 4 times a second
SOUND = (LOUDNESS * np.random.default_rng(0).standard_normal(9 * AUDIO_RATE)).astype(np.float32)
BUILDERS = {"Wav2Vec2": models.wav2vec2_model, "WavLM": models.wavlm_model}


def small_model(encoder):
    """A bundle's model with three narrow blocks and weights that are all random."""
    bundle = getattr(pipelines, encoder.bundle)
    convolutions = [
        (24, kernel, stride) for _, kernel, stride in bundle._params["extractor_conv_layer_config"]
    ]
    sizes = {
        "extractor_conv_layer_config": convolutions,
        "encoder_embed_dim": 128,
        "encoder_pos_conv_kernel": 16,
        "encoder_pos_conv_groups": 4,
        "encoder_num_layers": 3,
        "encoder_num_heads": 2,
        "encoder_ff_interm_features": 80,
    }
    torch.manual_seed(1)
    model = BUILDERS[bundle._model_type](**bundle._params | sizes).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module", params=ENCODERS, ids=lambda encoder: encoder.encoder)
def made(request, tmp_path_factory):
    """An encoder's class, torchaudio's model, and a file of its weights."""
    model = small_model(request.param)
    file = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save(model.state_dict(), file)
    return request.param, model, file


def create(made, **settings):
    encoder, _, file = made
    return encoder(encoder.Settings(weights=file, amp="off", device="cpu", **settings))


@torch.inference_mode()
def by_torchaudio(model, sound, layer=None):
    """(frames, features) of a transformer block, as one calls torchaudio."""
    features, _ = model.extract_features(torch.from_numpy(sound)[None], num_layers=layer)
    return features[-1][0].numpy()


def clip(second, window=3):
    return SOUND[second * AUDIO_RATE : (second + window) * AUDIO_RATE]


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_rows_are_torchaudios_last_layer_of_each_clip(made, batch_size):
    encoder = create(made, batch_size=batch_size)
    rows = encoder.encode(SOUND, np.arange(7))
    assert rows.shape == (7, encoder.features) == (7, 128)
    assert rows.dtype == np.float32
    expected = [by_torchaudio(made[1], clip(second)).mean(axis=0) for second in range(7)]
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)


def test_rows_do_not_depend_on_the_span(made):
    encoder = create(made, window=2, stride=2)
    together = encoder.encode(SOUND, np.array([0, 2, 4, 6]))
    apart = [encoder.encode(clip(second, 2), np.array([0]))[0] for second in (0, 2, 4, 6)]
    np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [1, 2, 3])
@pytest.mark.parametrize("context", ["window", "span"])
def test_a_layer_is_the_output_of_that_block(made, layer, context):
    encoder = create(made, layer=layer, context=context)
    (row,) = encoder.encode(clip(0), np.array([0]))
    expected = by_torchaudio(made[1], clip(0), layer).mean(axis=0)
    np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)
    assert encoder.parameters()["layer"] == layer


def test_in_context_a_row_is_the_mean_of_frames_whose_centres_lie_in_its_window(made):
    encoder = create(made, context="span", window=2)
    assert (encoder.context, create(made).context) == (5, 0)
    rows = encoder.encode(SOUND, np.array([0, 3, 7]))
    frames = by_torchaudio(made[1], SOUND)
    centres = (np.arange(len(frames)) * 320 + 200) / AUDIO_RATE
    inside = [(second <= centres) & (centres < second + 2) for second in (0, 3, 7)]
    assert [mask.sum() for mask in inside] == [100, 100, 99]  # the sound ends within the last frame
    expected = [frames[mask].mean(axis=0) for mask in inside]
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)


def test_context_changes_the_rows(made):
    alone = create(made).encode(SOUND, np.array([3]))
    assert np.abs(create(made, context="span").encode(SOUND, np.array([3])) - alone).max() > 1e-3


def test_parameters_say_what_decides_the_values(made):
    encoder = create(made)
    parameters = json.loads(json.dumps(encoder.parameters()))
    assert parameters["architecture"] == f"{encoder.bundle} of torchaudio: 3 blocks, 128 features"
    assert (parameters["weights"], parameters["layer"]) == ("small.pth", 3)
    assert (parameters["precision"], parameters["context"][:6]) == ("float32", "window")
    assert (parameters["frame_stride_samples"], parameters["frame_length_samples"]) == (320, 400)
    assert create(made, context="span").parameters()["context_s"] == 5
    assert len(encoder.weights_sha256) == 64
    assert encoder.array == f"audio_{encoder.encoder}"


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_published_files_fit(encoder, monkeypatch, tmp_path):
    """Names and shapes as published: without memory, because every tensor is one number repeated."""
    bundle = getattr(pipelines, encoder.bundle)
    with torch.device("meta"):
        published = BUILDERS[bundle._model_type](**bundle._params)
    shapes = {key: tuple(value.shape) for key, value in published.state_dict().items()}
    shapes |= {key: (32, *shape[1:]) for key, shape in shapes.items() if key.startswith("aux.")}
    older = {"original0": "weight_g", "original1": "weight_v"}
    state = {
        re.sub(r"parametrizations\.weight\.(original\d)", lambda name: older[name[1]], key): torch.ones(
            1
        ).expand(shape)
        for key, shape in shapes.items()
    }
    assert "encoder.transformer.pos_conv_embed.conv.weight_g" in state
    monkeypatch.setattr(torchaudio_models, "load_state", lambda file: state)
    model = torchaudio_models.load_pretrained(encoder.encoder, encoder.bundle, tmp_path)
    assert sum(value.numel() for value in model.parameters()) > 94e6
    assert (model.aux, len(model.encoder.transformer.layers)) == (None, 12)
    assert all(block.attention.num_heads == 12 for block in model.encoder.transformer.layers)
    assert torchaudio_models.frame_timing(model) == (320, 400)
    # The encoder gives the waveform as it is, and takes the last block's output for the model's own.
    assert (bundle.sample_rate, bundle._normalize_waveform) == (AUDIO_RATE, False)
    assert bundle._params["encoder_layer_norm_first"] is False


def test_weights_are_found_where_torchaudio_keeps_them(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = "https://download.pytorch.org/torchaudio/models/wav2vec2_fairseq_base_ls960_asr_ls960.pth"
    with pytest.raises(UserError, match=re.escape(url)) as raised:
        Wav2Vec2()
    cached = tmp_path / "hub" / "checkpoints" / "wav2vec2_fairseq_base_ls960_asr_ls960.pth"
    assert str(cached) in str(raised.value)
    cached.parent.mkdir(parents=True)
    torch.save(small_model(Wav2Vec2).state_dict(), cached)
    assert Wav2Vec2().features == 128


def test_weights_that_do_not_fit_are_named(made, tmp_path):
    encoder, model, _ = made
    settings = encoder.Settings(weights=tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth: no such file or folder"):
        encoder(settings)
    settings.weights.write_text("no checkpoint")
    with pytest.raises(UserError, match=r"other\.pth: cannot be read as weights"):
        encoder(settings)

    state = model.state_dict()
    bias = "encoder.feature_projection.projection.bias"
    torch.save({key: value for key, value in state.items() if key != bias}, settings.weights)
    with pytest.raises(UserError, match=rf"{encoder.encoder}: .*other\.pth does not fit .*missing: {bias}"):
        encoder(settings)
    torch.save(state | {"classifier.weight": torch.ones(3)}, settings.weights)
    with pytest.raises(UserError, match=r"unexpected: classifier\.weight"):
        encoder(settings)
    torch.save(state | {bias: torch.ones(3)}, settings.weights)
    with pytest.raises(UserError, match=rf"{bias} \(has \(3,\), needs \(128,\)\).*Download https://"):
        encoder(settings)
    torch.save({"mean": torch.ones(3)}, settings.weights)  # tells no sizes: those published are named
    with pytest.raises(UserError, match=r"missing: encoder\..* more; unexpected: mean"):
        encoder(settings)


def test_a_layer_that_is_not_there_is_an_error(made):
    with pytest.raises(UserError, match="layer=4: the model has 3 blocks; choose 1 to 3"):
        create(made, layer=4)


def test_the_processor_beside_the_weights_is_obeyed(made):
    """transformers' own files say that the sound is normalised, torchaudio's models take it as it is."""
    _, model, file = made
    processor = file.with_name("preprocessor_config.json")
    extractor = Wav2Vec2FeatureExtractor()
    extractor.save_pretrained(file.parent)
    try:
        encoder = create(made)
        rows = encoder.encode(SOUND, np.array([0, 2]))
        sounds = [SOUND[s * AUDIO_RATE : (s + 3) * AUDIO_RATE] for s in (0, 2)]
        inputs = extractor(sounds, sampling_rate=AUDIO_RATE, return_tensors="np").input_values
        expected = [by_torchaudio(model, sound).mean(axis=0) for sound in inputs]
        np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)
        assert encoder.parameters()["processor"] == processor.name
        processor.write_text('{"sampling_rate": 8000}')
        with pytest.raises(UserError, match=r"sampling_rate = 8000 is not .* only 16000"):
            create(made)
    finally:
        processor.unlink()
