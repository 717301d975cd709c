"""What a file of weights tells by itself; for the rest a setting, the model's own files, or a refusal."""

import json

import numpy as np
import pytest
import torch
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    SiglipVisionConfig,
    SiglipVisionModel,
    VJEPA2Config,
    VJEPA2Model,
    WhisperConfig,
    WhisperModel,
)

from simdata import encoders
from simdata.common.errors import UserError
from simdata.common.film_clock import AUDIO_RATE

# As ViT-L/14 at 336 pixels is to the default: other patches, another resolution, as many heads as fit.
TOWER = {
    "hidden_size": 128,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 42,
    "patch_size": 14,
}
SPAN = np.random.default_rng(0).integers(0, 256, (6, 42, 42, 3), np.uint8)


def saved(folder, model):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)


def row(text):
    return encoders.create(text).encode(SPAN, np.array([0]))


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_a_clip_needs_its_activation(tmp_path, activation):
    config = CLIPVisionConfig(**TOWER, projection_dim=24, hidden_act=activation)
    saved(tmp_path, CLIPVisionModelWithProjection(config))
    file = tmp_path / "model.safetensors"
    expected = row(f"clip,weights={file}")
    other = {"gelu": "quick_gelu", "quick_gelu": "gelu"}[activation]
    with pytest.raises(UserError, match=rf"activation={other}: config\.json .* says {activation}"):
        encoders.create(f"clip,weights={file},activation={other}")
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match=r"do not tell their activation.*activation=quick_gelu .*=gelu"):
        encoders.create(f"clip,weights={file}")
    np.testing.assert_array_equal(row(f"clip,weights={file},activation={activation}"), expected)
    assert abs(row(f"clip,weights={file},activation={other}") - expected).max() > 1e-3


def test_a_siglip_tells_its_sizes(tmp_path):
    saved(tmp_path, SiglipVisionModel(SiglipVisionConfig(**TOWER)))
    expected = row(f"siglip,weights={tmp_path}")
    (tmp_path / "config.json").unlink()
    np.testing.assert_array_equal(row(f"siglip,weights={tmp_path}"), expected)


def test_a_siglip_2_needs_its_processor(tmp_path):
    """It resizes bilinearly, SigLIP bicubically; nothing but the vocabulary tells them apart."""
    model = SiglipVisionModel(SiglipVisionConfig(**TOWER))
    saved(tmp_path, model)
    words = {"text_model.embeddings.token_embedding.weight": torch.zeros(256_000, 1)}
    state = {f"vision_model.{key.removeprefix('vision_model.')}": t for key, t in model.state_dict().items()}
    (tmp_path / "model.safetensors").unlink()
    torch.save(state | words, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"is a SigLIP 2 \(256000 words\).*preprocessor_config\.json"):
        encoders.create(f"siglip,weights={tmp_path}")
    processor = {"size": {"height": 42, "width": 42}, "resample": 2}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    resize = encoders.create(f"siglip,weights={tmp_path}").parameters()["preprocessing"]["resize"]
    assert resize["interpolation"] == "bilinear"


def test_a_vjepa2_needs_its_config(tmp_path):
    sizes = {"hidden_size": 48, "num_attention_heads": 2, "num_hidden_layers": 1, "crop_size": 32}
    predictor = {"pred_hidden_size": 24, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
    saved(tmp_path, VJEPA2Model(VJEPA2Config(**sizes, **predictor, num_pooler_layers=1)))
    stated = encoders.create(f"vjepa2,weights={tmp_path}").parameters()
    assert stated["frames"] == 64, "what config.json says, without a setting"
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match=r"no config\.json lies beside it"):
        encoders.create(f"vjepa2,weights={tmp_path}")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "dinov2"}, "'dinov2'"),
        ({"model_type": "siglip2", "vision_config": {"model_type": "siglip2_vision_model"}}, "NaFlex"),
        ({"model_type": "siglip2", "vision_config": {"hidden_size": 128}}, "NaFlex"),
        ({"model_type": "chinese_clip", "vision_config": {"hidden_size": 128}}, "'chinese_clip'"),
    ],
)
@pytest.mark.parametrize("encoder", ["clip", "siglip"])
def test_other_models_are_refused_by_name(tmp_path, encoder, config, message):
    torch.save({"some.weight": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=rf"config\.json: is of a .*{message}"):
        encoders.create(f"{encoder},weights={tmp_path}")


def test_the_processor_must_be_the_models(tmp_path):
    saved(tmp_path, SiglipVisionModel(SiglipVisionConfig(**TOWER)))
    (tmp_path / "preprocessor_config.json").write_text('{"size": {"height": 384, "width": 384}}')
    with pytest.raises(UserError, match=r"pictures would be 384 x 384 .* the model takes 42 x 42"):
        encoders.create(f"siglip,weights={tmp_path}")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    sizes = {"encoder_layers": 1, "encoder_attention_heads": 1, "encoder_ffn_dim": 48, "decoder_layers": 1}
    config = WhisperConfig(vocab_size=20, d_model=64, decoder_attention_heads=1, pad_token_id=0, **sizes)
    folder = tmp_path_factory.mktemp("whisper")
    saved(folder, WhisperModel(config))
    return folder


def test_a_whisper_tells_its_sizes(whisper, tmp_path):
    sound = np.random.default_rng(0).standard_normal(3 * AUDIO_RATE).astype(np.float32)
    (tmp_path / "model.safetensors").write_bytes((whisper / "model.safetensors").read_bytes())
    rows = [
        encoders.create(f"whisper,weights={folder}").encode(sound, np.array([0]))
        for folder in (whisper, tmp_path)
    ]
    np.testing.assert_array_equal(*rows)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sampling_rate", 8000),
        ("feature_size", 128),
        ("chunk_length", 15),
        ("hop_length", 80),
        ("n_fft", 512),
        ("dither", 0.1),
        ("do_normalize", True),
        ("feature_extractor_type", "SeamlessM4TFeatureExtractor"),
        ("mel_floor", 1.0),
    ],
)
def test_whispers_processor_is_checked(whisper, key, value):
    from transformers import WhisperFeatureExtractor

    WhisperFeatureExtractor().save_pretrained(whisper)
    file = whisper / "preprocessor_config.json"
    assert encoders.create(f"whisper,weights={whisper}").parameters()["processor"].startswith(file.name)
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(UserError, match=rf"preprocessor_config\.json: {key} = .* is not supported"):
        encoders.create(f"whisper,weights={whisper}")
    file.unlink()
