import json

import av
import numpy as np
import pytest
import torch
from film_files import write_film
from torch.nn.functional import conv3d, gelu, layer_norm
from transformers import VideoMAEConfig

from simdata import encoders
from simdata.common.errors import UserError
from simdata.encoders import mmaction
from simdata.encoders.videomae import VideoMAE
from simdata.films.blocks import stimulus_blocks

WIDTH, HIDDEN, DEPTH, HEADS, PATCH, SIZE = 128, 160, 3, 2, 16, 32
MEAN = torch.tensor([123.675, 116.28, 103.53])  # MMAction2's data_preprocessor, RGB
STD = torch.tensor([58.395, 57.12, 57.375])


def sinusoid(patches, width):
    table = np.arange(patches)[:, None] / 10000 ** (2 * (np.arange(width) // 2) / width)
    table[:, 0::2], table[:, 1::2] = np.sin(table[:, 0::2]), np.cos(table[:, 1::2])
    return torch.from_numpy(table).float()[None]


def checkpoint(scale=1.0):
    """A recogniser's state with MMAction2's names and shapes; ``scale`` is of what the norms see."""
    shapes = {
        "patch_embed.projection.weight": (WIDTH, 3, 2, PATCH, PATCH),
        "patch_embed.projection.bias": (WIDTH,),
        "fc_norm.weight": (WIDTH,),
        "fc_norm.bias": (WIDTH,),
    }
    for n in range(DEPTH):
        shapes |= {
            f"blocks.{n}.norm1.weight": (WIDTH,),
            f"blocks.{n}.norm1.bias": (WIDTH,),
            f"blocks.{n}.attn.q_bias": (WIDTH,),
            f"blocks.{n}.attn.v_bias": (WIDTH,),
            f"blocks.{n}.attn.qkv.weight": (3 * WIDTH, WIDTH),
            f"blocks.{n}.attn.proj.weight": (WIDTH, WIDTH),
            f"blocks.{n}.attn.proj.bias": (WIDTH,),
            f"blocks.{n}.norm2.weight": (WIDTH,),
            f"blocks.{n}.norm2.bias": (WIDTH,),
            f"blocks.{n}.mlp.layers.0.0.weight": (HIDDEN, WIDTH),
            f"blocks.{n}.mlp.layers.0.0.bias": (HIDDEN,),
            f"blocks.{n}.mlp.layers.1.weight": (WIDTH, HIDDEN),
            f"blocks.{n}.mlp.layers.1.bias": (WIDTH,),
        }
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, shape in shapes.items():
        fan_in = max(1, int(np.prod(shape[1:])))
        state[f"backbone.{key}"] = 0.5 * torch.randn(shape, generator=generator) / fan_in**0.5
        if any(part in key for part in ("patch_embed", "attn.proj", "mlp.layers.1")):
            state[f"backbone.{key}"] *= scale
    state["backbone.pos_embed"] = scale * sinusoid(8 * (SIZE // PATCH) ** 2, WIDTH)
    state["cls_head.fc_cls.weight"] = torch.zeros(400, WIDTH)
    state["cls_head.fc_cls.bias"] = torch.zeros(400)
    return state


def written(path, state):
    torch.save({"meta": {"epoch": 1, "dataset_meta": None}, "state_dict": state}, path)
    return path


def forward(state, pictures, heads=HEADS, blocks=DEPTH):
    """MMAction2's VisionTransformer of (16, y, x, 3) uint8, from its published description: (width,)."""
    weights = {key.removeprefix("backbone."): tensor.double() for key, tensor in state.items()}

    def norm(x, name):
        return layer_norm(x, (WIDTH,), weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-6)

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    pixels = ((torch.from_numpy(pictures) - MEAN) / STD).double().permute(3, 0, 1, 2)[None]
    kernel, bias = weights["patch_embed.projection.weight"], weights["patch_embed.projection.bias"]
    x = conv3d(pixels, kernel, bias, stride=(2, PATCH, PATCH)).flatten(2).transpose(1, 2)
    x = x + weights["pos_embed"]
    for n in range(blocks):
        q_bias, v_bias = weights[f"blocks.{n}.attn.q_bias"], weights[f"blocks.{n}.attn.v_bias"]
        qkv_bias = torch.cat([q_bias, torch.zeros_like(v_bias), v_bias])
        qkv = norm(x, f"blocks.{n}.norm1") @ weights[f"blocks.{n}.attn.qkv.weight"].T + qkv_bias
        q, k, v = qkv.reshape(x.shape[1], 3, heads, WIDTH // heads).permute(1, 2, 0, 3)
        attention = (q * (WIDTH // heads) ** -0.5 @ k.transpose(-2, -1)).softmax(dim=-1)
        mixed = (attention @ v).transpose(0, 1).reshape(x.shape)
        x = x + linear(mixed, f"blocks.{n}.attn.proj")
        hidden = gelu(linear(norm(x, f"blocks.{n}.norm2"), f"blocks.{n}.mlp.layers.0.0"))
        x = x + linear(hidden, f"blocks.{n}.mlp.layers.1")
    return norm(x.mean(dim=1), "fc_norm")[0] if blocks == DEPTH else x.mean(dim=1)[0]


def film(seconds):
    return np.random.default_rng(0).integers(0, 256, (seconds * 16, SIZE, SIZE, 3), dtype=np.uint8)


def clip(span, start):
    """16 pictures in the middles of 16 parts of 3 s, on a grid at (k + 1/2) / 16 s."""
    return span[start * 16 + 3 * np.arange(16) + 1]


def encoder(file, **settings):
    return VideoMAE(VideoMAE.Settings(weights=file, device="cpu", **{"frames": "even"} | settings))


# With tokens as small as these, an epsilon of 1e-5 or 1e-12 gives other rows.
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_rows_are_those_of_mmaction2(tmp_path, scale):
    state, span = checkpoint(scale), film(5)
    tested = encoder(written(tmp_path / "vit.pth", state))
    rows = tested.encode(span, np.array([0, 2]))
    expected = torch.stack([forward(state, clip(span, start)) for start in (0, 2)])
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)
    assert tested.grid.size == (SIZE, SIZE)
    parameters = tested.parameters()
    assert (parameters["heads"], parameters["blocks"], parameters["norm_epsilon"]) == (HEADS, DEPTH, 1e-6)
    assert "fc_norm, epsilon 1e-06" in parameters["pooling"]
    assert parameters["weights"] == "vit.pth"


def test_the_epsilon_matters_in_that_test(tmp_path):
    state, span = checkpoint(1e-3), film(3)
    tested = encoder(written(tmp_path / "vit.pth", state))
    rows = tested.encode(span, np.array([0]))
    tested._inference.model.fc_norm.eps = 1e-5
    assert not np.allclose(rows, tested.encode(span, np.array([0])), rtol=1e-2, atol=1e-3)


def test_a_layer(tmp_path):
    state, span = checkpoint(), film(3)
    rows = encoder(written(tmp_path / "vit.pth", state), layer=2).encode(span, np.array([0]))
    np.testing.assert_allclose(rows[0], forward(state, clip(span, 0), blocks=2), rtol=1e-4, atol=1e-5)


def test_a_backbone_alone(tmp_path):
    state, span = checkpoint(), film(3)
    backbone = {k.removeprefix("backbone."): t for k, t in state.items() if k.startswith("backbone.")}
    rows = encoder(written(tmp_path / "vit.pth", backbone)).encode(span, np.array([0]))
    np.testing.assert_allclose(rows[0], forward(state, clip(span, 0)), rtol=1e-4, atol=1e-5)


def test_a_config_beside_the_file_says_the_heads(tmp_path):
    state, span = checkpoint(), film(3)
    sizes = {
        "hidden_size": WIDTH,
        "intermediate_size": HIDDEN,
        "num_hidden_layers": DEPTH,
        "image_size": SIZE,
    }
    VideoMAEConfig(**sizes, num_attention_heads=4).save_pretrained(tmp_path)
    rows = encoder(written(tmp_path / "vit.pth", state)).encode(span, np.array([0]))
    np.testing.assert_allclose(rows[0], forward(state, clip(span, 0), heads=4), rtol=1e-4, atol=1e-5)
    assert json.loads((tmp_path / "config.json").read_text())["layer_norm_eps"] == 1e-12


@pytest.mark.parametrize(("width", "heads"), [(384, 6), (768, 12), (1024, 16), (1280, 16), (1408, 16)])
def test_heads_of_the_published_sizes(width, heads):
    assert mmaction.heads("file", width) == heads


def test_keys_that_do_not_fit_are_named_as_in_the_file(tmp_path):
    state = checkpoint()
    for n in range(DEPTH):
        del state[f"backbone.blocks.{n}.attn.q_bias"]
        state[f"backbone.blocks.{n}.gamma_1"] = torch.ones(WIDTH)
    del state["backbone.fc_norm.bias"]
    state["backbone.blocks.1.attn.qkv.weight"] = torch.zeros(WIDTH, WIDTH)
    with pytest.raises(UserError) as caught:
        encoder(written(tmp_path / "vit.pth", state))
    message = str(caught.value)
    assert f"{tmp_path / 'vit.pth'} is no VideoMAE checkpoint as MMAction2's are" in message
    first = "blocks.0.attn.q_bias, blocks.1.attn.q_bias, blocks.2.attn.q_bias and 1 more"
    assert f"missing: {first}" in message
    assert "unexpected: blocks.0.gamma_1, blocks.1.gamma_1, blocks.2.gamma_1;" in message
    assert "blocks.1.attn.qkv.weight (has (128, 128), needs (384, 128))" in message
    assert "vit-base-p16_videomae-k400" in message


def test_patches_that_fill_no_square(tmp_path):
    state = checkpoint()
    state["backbone.pos_embed"] = torch.zeros(1, 33, WIDTH)
    with pytest.raises(UserError, match=r"pos_embed \(has \(1, 33, 128\), needs \(1, 32, 128\)\)"):
        encoder(written(tmp_path / "vit.pth", state))


def test_other_recognisers_of_mmaction2(tmp_path):
    state = {"backbone.patch_embed.projection.weight": torch.zeros(WIDTH, 3, PATCH, PATCH)}
    with pytest.raises(UserError, match=r"missing: blocks\.0.*pos_embed; of another shape: patch_embed"):
        encoder(written(tmp_path / "timesformer.pth", state))
    with pytest.raises(
        UserError, match=r"does not fit VideoMAEModel \(missing: .* unexpected: backbone\.conv1"
    ):
        encoder(written(tmp_path / "slowfast.pth", {"backbone.conv1.weight": torch.zeros(8, 3, 1, 7, 7)}))


def test_checkpoints_with_python_objects_are_not_run(tmp_path):
    class Meta:
        def __reduce__(self):
            return print, ("run",)

    torch.save({"state_dict": checkpoint(), "meta": Meta()}, tmp_path / "vit.pth")
    with pytest.raises(
        UserError, match=r"vit\.pth: cannot be read as weights \(it also holds Python objects"
    ):
        encoder(tmp_path / "vit.pth")


def resized(pictures):
    """MMAction2's Resize((-1, 32)) and CenterCrop(32): OpenCV's bilinear, which does not smooth."""
    height, width = pictures.shape[1:3]
    scale = SIZE / min(height, width)
    size = [int(length * scale + 0.5) for length in (height, width)]

    def along(axis, old, new):
        place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.minimum(place.astype(int), old - 2)
        return low, (place - low).reshape([-1 if a == axis else 1 for a in range(4)])

    x = pictures.astype(float)
    for axis, old, new in ((1, height, size[0]), (2, width, size[1])):
        low, part = along(axis, old, new)
        x = (1 - part) * np.take(x, low, axis) + part * np.take(x, low + 1, axis)
    top, left = ((length - SIZE) // 2 for length in size)
    return np.rint(x)[:, top : top + SIZE, left : left + SIZE].astype(np.uint8)


def test_from_the_film_on_as_mmaction2_does_it(tmp_path):
    """SampleFrames(clip_len=16, frame_interval=4, num_clips=1, test_mode=True) of clips of 3 s."""
    state = checkpoint()
    file = written(tmp_path / "small.pth", state)
    film = write_film(tmp_path / "film.mp4", seconds=5, rate=25)
    with av.open(str(film)) as container:
        pictures = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    tested = encoders.create(f"videomae,weights={file}")
    (block,) = stimulus_blocks(film, [tested], [(0, 3)])
    for second, row in enumerate(block.embeddings["video_videomae"]):
        clip = pictures[25 * second : 25 * (second + 3)][(75 - 61) // 2 + 4 * np.arange(16)]
        expected = forward(state, resized(clip)).numpy()
        assert row @ expected / np.linalg.norm(row) / np.linalg.norm(expected) > 0.9999
    parameters = tested.parameters()
    assert parameters["frames_taken"].startswith("interval:4: of the film's own n pictures")
    assert not parameters["preprocessing"]["resize"]["antialias"]


def test_a_window_too_short_for_the_interval(tmp_path):
    file = written(tmp_path / "small.pth", checkpoint())
    film = write_film(tmp_path / "film.mp4", seconds=5, rate=15)
    with pytest.raises(
        UserError, match=r"film\.mp4: the window at 0 s: frames=interval:4: .* has only 45; take int"
    ):
        list(stimulus_blocks(film, [encoders.create(f"videomae,weights={file}")], [(0, 3)]))
    (block,) = stimulus_blocks(
        film, [encoders.create(f"videomae,weights={file},frames=interval:2")], [(0, 3)]
    )
    assert np.isfinite(block.embeddings["video_videomae"]).all()
