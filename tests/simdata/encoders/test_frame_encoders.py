import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from simdata.common.checksum import sha256
from simdata.common.errors import UserError
from simdata.encoders.frames import CLIP, CLIPSettings, FrameSettings, SigLIP

TOWER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
}
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "vocab_size": 100,
    "max_position_embeddings": 8,
}
PROJECTED = 24
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def randomised(model, folder):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    model.eval().save_pretrained(folder)
    return model


def clip_model(folder):
    """Both towers, as published."""
    torch.manual_seed(0)
    vision = TOWER | {"projection_dim": PROJECTED}
    config = CLIPConfig(vision_config=vision, text_config=TEXT, projection_dim=PROJECTED)
    return randomised(CLIPModel(config), folder)


def siglip_model(folder, **tower):
    torch.manual_seed(0)
    config = SiglipConfig(vision_config=TOWER | tower, text_config=TEXT | {"projection_size": 32})
    return randomised(SiglipModel(config), folder)


def film(seconds, rate=2, size=32):
    return np.random.default_rng(0).integers(0, 256, (seconds * rate, size, size, 3), dtype=np.uint8)


def clip(folder, **settings):
    return CLIP(CLIPSettings(weights=folder, device="cpu", **settings))


def siglip(folder, **settings):
    return SigLIP(FrameSettings(weights=folder, device="cpu", **settings))


def pixels(picture, mean, std):
    return torch.from_numpy(
        ((picture / 255 - np.array(mean)) / np.array(std)).transpose(2, 0, 1)[None]
    ).float()


@torch.no_grad()
def expected(one, span, starts, rate=2, window=3):
    """One picture at a time, and every window anew."""
    return np.stack(
        [
            np.mean(
                [one(picture)[0].numpy() for picture in span[start * rate : (start + window) * rate]], axis=0
            )
            for start in starts
        ]
    )


def check(rows, one, span, starts, **options):
    np.testing.assert_allclose(rows, expected(one, span, starts, **options), rtol=1e-4, atol=1e-5)


def test_clip_rows_are_mean_projected_embeddings(tmp_path):
    model, tested, span, starts = clip_model(tmp_path), clip(tmp_path), film(7), np.array([0, 1, 2, 4])
    rows = tested.encode(span, starts)
    assert rows.dtype == np.float32
    assert rows.shape == (4, tested.features) == (4, PROJECTED)

    def one(picture):
        return model.get_image_features(pixel_values=pixels(picture, CLIP_MEAN, CLIP_STD)).pooler_output

    check(rows, one, span, starts)


def test_siglip_rows_are_mean_pooled_outputs(tmp_path):
    model, tested, span, starts = siglip_model(tmp_path), siglip(tmp_path), film(5), np.array([0, 2])
    rows = tested.encode(span, starts)
    assert rows.shape == (2, tested.features) == (2, 32)

    def one(picture):
        return model.get_image_features(pixel_values=pixels(picture, [0.5] * 3, [0.5] * 3)).pooler_output

    check(rows, one, span, starts)


def test_files_of_the_vision_tower_alone(tmp_path):
    torch.manual_seed(0)
    config = CLIPVisionConfig(**TOWER, projection_dim=PROJECTED)
    tower = randomised(CLIPVisionModelWithProjection(config), tmp_path / "clip")
    span = film(3)
    check(
        clip(tmp_path / "clip").encode(span, np.array([0])),
        lambda picture: tower(pixels(picture, CLIP_MEAN, CLIP_STD)).image_embeds,
        span,
        [0],
    )
    other = randomised(SiglipVisionModel(SiglipVisionConfig(**TOWER)), tmp_path / "siglip")
    check(
        siglip(tmp_path / "siglip").encode(span, np.array([0])),
        lambda picture: other(pixels(picture, [0.5] * 3, [0.5] * 3)).pooler_output,
        span,
        [0],
    )


def test_old_files_hold_position_ids_and_half_precision(tmp_path):
    """As openai/clip-vit-base-patch32's pytorch_model.bin does hold the first."""
    model, span = clip_model(tmp_path), film(3)
    rows = clip(tmp_path).encode(span, np.array([0]))
    state = {key: tensor.half() for key, tensor in model.state_dict().items()}
    state["vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    (tmp_path / "model.safetensors").unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    old = clip(tmp_path)
    assert old.parameters()["weights"] == "pytorch_model.bin"
    assert {p.dtype for p in old._inference.model.parameters()} == {torch.float32}
    np.testing.assert_allclose(old.encode(span, np.array([0])), rows, atol=1e-2 * rows.std())


@pytest.mark.parametrize("layer", [1, 3])
@pytest.mark.parametrize("pooling", [None, "mean", "cls"])
def test_a_layer_of_clip(tmp_path, layer, pooling):
    model, span = clip_model(tmp_path), film(3)
    tested = clip(tmp_path, layer=layer, pooling=pooling)

    def one(picture):
        output = model.vision_model(pixels(picture, CLIP_MEAN, CLIP_STD), output_hidden_states=True)
        tokens = output.hidden_states[layer]
        return tokens[:, 0] if pooling == "cls" else tokens[:, 1:].mean(dim=1)

    rows = tested.encode(span, np.array([0]))
    assert rows.shape == (1, tested.features) == (1, 32)
    check(rows, one, span, [0])
    stated = f"{'class token' if pooling == 'cls' else 'mean of the patches'} behind block {layer}"
    assert tested.parameters()["pooling"] == f"{stated}; mean over the window's pictures"


@pytest.mark.parametrize("layer", [1, 3])
def test_a_layer_of_siglip(tmp_path, layer):
    model, span = siglip_model(tmp_path), film(3)

    def one(picture):
        output = model.vision_model(pixels(picture, [0.5] * 3, [0.5] * 3), output_hidden_states=True)
        return output.hidden_states[layer].mean(dim=1)

    check(siglip(tmp_path, layer=layer).encode(span, np.array([0])), one, span, [0])


def test_pooling_is_of_a_layer(tmp_path):
    with pytest.raises(ValidationError, match="give layer"):
        CLIPSettings(pooling="cls")
    assert "pooling" not in FrameSettings.model_fields, "SigLIP has no class token"


@pytest.mark.parametrize(("make", "encoder"), [(clip_model, clip), (siglip_model, siglip)])
def test_every_picture_is_encoded_once(tmp_path, make, encoder):
    make(tmp_path)
    tested, seen = encoder(tmp_path, rate=3, window=4, batch_size=5), []
    tested._inference.model.register_forward_pre_hook(
        lambda module, args: seen.extend(args[0].flatten(1).sum(dim=1).tolist())
    )
    tested.encode(film(9, rate=3), np.array([1, 2, 3, 5]))
    assert len(seen) == len(set(seen)) == 3 * 8


@pytest.mark.parametrize(("make", "encoder"), [(clip_model, clip), (siglip_model, siglip)])
def test_rows_do_not_depend_on_span_or_batch(tmp_path, make, encoder):
    make(tmp_path)
    span, tested = film(6), encoder(tmp_path, batch_size=1)
    rows = encoder(tmp_path, batch_size=64).encode(span, np.arange(4))
    alone = [tested.encode(span[2 * s : 2 * (s + 3)], np.array([0]))[0] for s in range(4)]
    np.testing.assert_allclose(rows, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "encoder", "fit", "mean"),
    [(clip_model, clip, "crop", CLIP_MEAN), (siglip_model, siglip, "stretch", (0.5, 0.5, 0.5))],
)
def test_what_the_store_will_say(tmp_path, make, encoder, fit, mean):
    make(tmp_path)
    tested = encoder(tmp_path, rate=4, name="mine")
    assert (tested.grid.rate, tested.grid.size, tested.grid.fit, tested.grid.phase) == (4, (32, 32), fit, 0.5)
    assert tested.array == "video_mine"
    attributes = json.loads(json.dumps(tested.attributes()))
    assert attributes["encoder"] == tested.encoder
    assert attributes["weights_sha256"] == sha256(tmp_path / "model.safetensors")
    parameters = attributes["parameters"]
    assert (parameters["weights"], parameters["blocks"], parameters["width"]) == ("model.safetensors", 3, 32)
    assert (parameters["frames"], parameters["picture_rate_hz"], parameters["layer"]) == (12, 4, None)
    assert parameters["normalisation"]["mean"] == list(mean)


def test_what_does_not_fit(tmp_path, monkeypatch):
    siglip_model(tmp_path / "siglip", vision_use_head=False)
    with pytest.raises(UserError, match="no pooling head; choose a layer"):
        siglip(tmp_path / "siglip")
    with pytest.raises(UserError, match=r"config\.json: is of a 'siglip_vision_model' model"):
        clip(tmp_path / "siglip")
    (tmp_path / "siglip" / "config.json").unlink()
    with pytest.raises(
        UserError, match=r"does not fit CLIPVisionModelWithProjection \(missing: .*class_embedding"
    ):
        clip(tmp_path / "siglip")
    clip_model(tmp_path / "clip")
    with pytest.raises(UserError, match="layer=4: the model has 3 blocks"):
        clip(tmp_path / "clip", layer=4)
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(UserError, match=r"text\.pth: cannot be read as weights"):
        siglip(tmp_path / "text.pth")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for kind, model in ((CLIP, "openai/clip-vit-base-patch32"), (SigLIP, "google/siglip-base-patch16-224")):
        with pytest.raises(
            UserError, match=rf"{kind.encoder}: no weights\. It needs .* of {model}.*hf download"
        ):
            kind()
