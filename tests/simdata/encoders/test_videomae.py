import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    VideoMAEConfig,
    VideoMAEForPreTraining,
    VideoMAEForVideoClassification,
    VideoMAEModel,
)

from simdata.common.checksum import sha256
from simdata.common.errors import UserError
from simdata.encoders.base import uniform_frames
from simdata.encoders.videomae import VideoMAE

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 16,
    "initializer_range": 0.3,
}
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def saved(folder, kind=VideoMAEForVideoClassification, **config):
    """A random model in a folder as save_pretrained makes it; every number counts, norms' too."""
    torch.manual_seed(0)
    model = kind(VideoMAEConfig(**SIZES | config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return model


def film(seconds, rate=16, size=32):
    return np.random.default_rng(0).integers(0, 256, (seconds * rate, size, size, 3), dtype=np.uint8)


def encoder(folder, **settings):
    return VideoMAE(VideoMAE.Settings(weights=folder, device="cpu", **{"frames": "even"} | settings))


def clip(span, start, window=3):
    """(1, 16, 3, y, x): the pictures on screen in the middles of 16 parts of a window, by their times."""
    rate, phase, _ = uniform_frames(16, window)
    times = start + (np.arange(16) + 0.5) * window / 16
    pictures = span[np.round(times * rate - phase).astype(int)]
    np.testing.assert_allclose((np.round(times * rate - phase) + phase) / rate, times)
    return torch.from_numpy(((pictures / 255 - MEAN) / STD).transpose(0, 3, 1, 2)[None]).float()


@torch.no_grad()
def expected(tokens_to_row, model, span, starts, window=3):
    return np.stack([tokens_to_row(model, clip(span, start, window)).numpy()[0] for start in starts])


def classified(model, pixels):
    """The input of the classifier of transformers' own forward pass."""
    seen = []
    handle = model.classifier.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(pixels)
    handle.remove()
    return seen[0]


def test_rows_are_what_the_fine_tuned_model_classifies(tmp_path):
    model = saved(tmp_path)
    tested, span, starts = encoder(tmp_path), film(7), np.array([0, 1, 2, 4])
    rows = tested.encode(span, starts)
    assert rows.dtype == np.float32
    assert rows.shape == (4, tested.features) == (4, 32)
    np.testing.assert_allclose(rows, expected(classified, model, span, starts), rtol=1e-4, atol=1e-5)


def test_what_the_store_will_say(tmp_path):
    saved(tmp_path)
    tested = encoder(tmp_path, layer=2)
    assert (tested.grid.rate, tested.grid.size, tested.grid.fit, tested.grid.phase) == (
        16,
        (32, 32),
        "crop",
        0.5,
    )
    attributes = json.loads(json.dumps(tested.attributes()))
    assert attributes["weights_sha256"] == sha256(tmp_path / "model.safetensors")
    parameters = attributes["parameters"]
    assert parameters["weights"] == "model.safetensors"
    assert (parameters["architecture"], parameters["blocks"], parameters["width"]) == ("VideoMAE", 3, 32)
    assert (parameters["frames"], parameters["layer"], parameters["precision"]) == (16, 2, "float32")
    assert parameters["normalisation"] == {"mean": list(MEAN), "std": list(STD)}
    assert parameters["pooling"] == "mean of the tokens behind block 2"


def test_rows_do_not_depend_on_span_or_batch(tmp_path):
    saved(tmp_path)
    span = film(6)
    rows = encoder(tmp_path, batch_size=3).encode(span, np.arange(4))
    alone = [
        encoder(tmp_path, batch_size=1).encode(span[16 * s : 16 * (s + 3)], np.array([0]))[0]
        for s in range(4)
    ]
    np.testing.assert_allclose(rows, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [1, 2, 4])
def test_other_windows(tmp_path, window):
    model = saved(tmp_path)
    span = film(6)
    rows = encoder(tmp_path, window=window).encode(span, np.array([1, 2]))
    wanted = expected(classified, model, span, [1, 2], window)
    np.testing.assert_allclose(rows, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [1, 3])
def test_a_layer_is_the_mean_behind_that_block(tmp_path, layer):
    model = saved(tmp_path)
    span = film(4)
    rows = encoder(tmp_path, layer=layer).encode(span, np.array([0, 1]))

    def mean(model, pixels):
        return model.videomae(pixels, output_hidden_states=True).hidden_states[layer].mean(dim=1)

    np.testing.assert_allclose(rows, expected(mean, model, span, [0, 1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [VideoMAEForPreTraining, VideoMAEModel])
@pytest.mark.parametrize("final_norm", [True, False])
def test_files_without_fc_norm(tmp_path, kind, final_norm):
    model = saved(tmp_path, kind, use_mean_pooling=not final_norm)
    span, tested = film(3), encoder(tmp_path)

    def mean(model, pixels):
        return getattr(model, "videomae", model)(pixels).last_hidden_state.mean(dim=1)

    rows = tested.encode(span, np.array([0]))
    np.testing.assert_allclose(rows, expected(mean, model, span, [0]), rtol=1e-4, atol=1e-5)
    assert ("behind the final layer norm" in tested.parameters()["pooling"]) is final_norm


def test_sizes_come_from_the_shapes_where_there_is_no_config(tmp_path):
    model = saved(
        tmp_path, hidden_size=64, num_attention_heads=1, image_size=224, patch_size=56, num_hidden_layers=2
    )
    (tmp_path / "config.json").unlink()
    tested, span = encoder(tmp_path / "model.safetensors"), film(3, size=224)
    assert tested.grid.size == (224, 224)
    rows = tested.encode(span, np.array([0]))
    np.testing.assert_allclose(rows, expected(classified, model, span, [0]), rtol=1e-4, atol=1e-5)


def test_heads_that_no_shape_tells(tmp_path):
    saved(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match=r"model 32 wide is none of the published ones.*config\.json"):
        encoder(tmp_path)


def test_bf16_is_near_and_says_so(tmp_path):
    saved(tmp_path, initializer_range=0.02)
    tested = encoder(tmp_path, amp="bf16")
    assert tested.parameters()["precision"] == "bfloat16"
    rows, exact = (t.encode(film(3), np.array([0])) for t in (tested, encoder(tmp_path, amp="off")))
    assert 0 < abs(rows - exact).max() < 0.1 * exact.std()


def test_missing_weights_say_which_from_where_and_where_to(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError) as caught:
        VideoMAE()
    for part in (
        "model.safetensors",
        "MCG-NJU/videomae-base-finetuned-kinetics",
        "hf download",
        "weights=FOLDER",
    ):
        assert part in str(caught.value)
    with pytest.raises(UserError, match=r"weights=.*nowhere: no such file or folder"):
        encoder(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no model\.safetensors or pytorch_model\.bin in it"):
        encoder(tmp_path)


def test_layer_must_exist(tmp_path):
    saved(tmp_path)
    with pytest.raises(UserError, match="layer=4: the model has 3 blocks"):
        encoder(tmp_path, layer=4)


def test_keys_that_do_not_fit_are_named(tmp_path, capfd):
    model = saved(tmp_path)
    state = model.state_dict()
    del state["videomae.encoder.layer.1.output.dense.weight"]
    state["videomae.nonsense"] = torch.zeros(1)
    state["fc_norm.weight"] = torch.zeros(5)
    torch.save(state, tmp_path / "bad.bin")
    with pytest.raises(UserError) as caught:
        encoder(tmp_path / "bad.bin")
    message = str(caught.value)
    assert f"{tmp_path / 'bad.bin'} does not fit" in message
    assert "missing: videomae.encoder.layer.1.output.dense.weight" in message
    assert "unexpected: videomae.nonsense" in message
    assert "of another shape: fc_norm.weight (has (5,), needs (32,))" in message
    assert "config.json" in message
    assert "LOAD REPORT" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("name", ["model.safetensors", "weights.pth"])
def test_what_is_no_checkpoint(tmp_path, name):
    (tmp_path / name).write_text("this is no checkpoint")
    with pytest.raises(UserError, match=f"{name}: cannot be read as weights"):
        encoder(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3}, r"missing: .*embeddings\..*; unexpected: epoch\)"),
        ({"state_dict": {}}, r"does not fit VideoMAEModel \(missing: "),
        ([1], "cannot be read as weights"),
    ],
)
def test_checkpoints_without_weights(tmp_path, content, message):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=message):
        encoder(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"model_type": "clip"}', "is of a 'clip' model, not 'videomae'"),
        ('{"hidden_size": "wide"}', "cannot be read as VideoMAEConfig"),
        ("{", "cannot be read as VideoMAEConfig"),
    ],
)
def test_configs_that_make_no_sense(tmp_path, content, message):
    saved(tmp_path)
    Path(tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=message):
        encoder(tmp_path)
