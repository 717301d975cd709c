import json

import numpy as np
import pytest
import torch
from transformers import VJEPA2Config, VJEPA2ForVideoClassification, VJEPA2Model

from simdata.common.checksum import sha256
from simdata.common.errors import UserError
from simdata.encoders.vjepa2 import VJEPA2

SIZES = {
    "crop_size": 32,
    "frames_per_clip": 16,
    "hidden_size": 48,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "mlp_ratio": 2.0,
    "num_pooler_layers": 1,
    "pred_hidden_size": 24,
    "pred_num_attention_heads": 2,
    "pred_num_hidden_layers": 1,
    "initializer_range": 0.3,
}
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def saved(folder, kind=VJEPA2Model, **config):
    torch.manual_seed(0)
    model = kind(VJEPA2Config(**SIZES | config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return getattr(model, "vjepa2", model)


def film(seconds, rate=16):
    return np.random.default_rng(0).integers(0, 256, (seconds * rate, 32, 32, 3), dtype=np.uint8)


def encoder(folder, **settings):
    return VJEPA2(VJEPA2.Settings(weights=folder, device="cpu", **settings))


def pixels(pictures):
    return torch.from_numpy(((pictures / 255 - MEAN) / STD).transpose(0, 3, 1, 2)[None]).float()


@torch.no_grad()
def expected(model, clips, layer=None):
    """One clip at a time, with the predictor running in vain."""
    rows = []
    for clip in clips:
        output = model(pixels(clip), output_hidden_states=True)
        tokens = output.last_hidden_state if layer is None else output.hidden_states[layer]
        rows.append(tokens.mean(dim=1)[0].numpy())
    return np.stack(rows)


@pytest.mark.parametrize("kind", [VJEPA2Model, VJEPA2ForVideoClassification])
def test_rows_are_the_mean_of_the_encoders_tokens(tmp_path, kind):
    model, span, starts = saved(tmp_path, kind), film(6), np.array([0, 1, 3])
    tested = encoder(tmp_path, batch_size=2)
    rows = tested.encode(span, starts)
    assert rows.dtype == np.float32
    assert rows.shape == (3, tested.features) == (3, 48)
    clips = [span[16 * start + 1 : 16 * (start + 3) : 3] for start in starts]
    np.testing.assert_allclose(rows, expected(model, clips), rtol=1e-4, atol=1e-5)


def test_other_numbers_of_frames(tmp_path):
    model, span = saved(tmp_path), film(4, rate=2)
    tested = encoder(tmp_path, frames=4, window=2)
    # The middles of 4 parts of 2 s are at 0.25, 0.75, 1.25 and 1.75 s.
    assert (tested.grid.rate, tested.grid.phase) == (2, 0.5)
    rows = tested.encode(span, np.array([0, 1]))
    np.testing.assert_allclose(rows, expected(model, [span[0:4], span[2:6]]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [1, 3])
def test_a_layer_is_the_mean_behind_that_block(tmp_path, layer):
    model, span = saved(tmp_path), film(3)
    rows = encoder(tmp_path, layer=layer).encode(span, np.array([0]))
    np.testing.assert_allclose(rows, expected(model, [span[1:48:3]], layer), rtol=1e-4, atol=1e-5)


def test_rows_do_not_depend_on_span_or_batch(tmp_path):
    saved(tmp_path)
    span = film(5)
    rows = encoder(tmp_path, batch_size=2).encode(span, np.arange(3))
    tested = encoder(tmp_path, batch_size=1)
    alone = [tested.encode(span[16 * s : 16 * (s + 3)], np.array([0]))[0] for s in range(3)]
    np.testing.assert_allclose(rows, alone, rtol=1e-4, atol=1e-5)


def test_what_the_store_will_say(tmp_path):
    saved(tmp_path)
    tested = encoder(tmp_path)
    assert (tested.grid.rate, tested.grid.size, tested.grid.fit, tested.grid.phase) == (
        16,
        (32, 32),
        "crop",
        0.5,
    )
    attributes = json.loads(json.dumps(tested.attributes()))
    assert attributes["weights_sha256"] == sha256(tmp_path / "model.safetensors")
    parameters = attributes["parameters"]
    assert (parameters["architecture"], parameters["blocks"]) == ("V-JEPA 2 encoder", 3)
    assert (parameters["frames"], parameters["layer"]) == (16, None)
    assert parameters["pooling"] == "mean of the tokens behind the final layer norm"
    assert sum(p.numel() for p in tested._inference.model.parameters()) == sum(
        p.numel() for p in saved(tmp_path).encoder.parameters()
    ), "the predictor is left out"


def test_what_does_not_fit(tmp_path, monkeypatch):
    saved(tmp_path)
    with pytest.raises(UserError, match="frames=5: the model takes frames by 2"):
        encoder(tmp_path, frames=5)
    with pytest.raises(UserError, match="layer=4: the model has 3 blocks"):
        encoder(tmp_path, layer=4)
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.bin")
    with pytest.raises(UserError, match=r"missing: encoder\..* and \d+ more; unexpected: other"):
        encoder(tmp_path / "other.bin")
    VJEPA2Config(**SIZES | {"hidden_size": 24}).save_pretrained(tmp_path)
    with pytest.raises(
        UserError, match=r"shape: encoder\..* and config\.json beside it must come from one model"
    ):
        encoder(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        UserError, match=r"no weights\. It needs model\.safetensors of facebook/vjepa2-vitl-fpc64"
    ):
        VJEPA2()
