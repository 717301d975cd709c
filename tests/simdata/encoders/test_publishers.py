"""Every encoder of pictures against its publisher: transformers' own processor and model.

Both look at the same films. The publisher's side decodes them here, with PyAV, and knows nothing of simdata;
ours is the way of `simdata embed`, from the film to the rows.
"""

import json
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    VideoMAEImageProcessor,
    VideoMAEVideoProcessor,
    VJEPA2Config,
    VJEPA2Model,
    VJEPA2VideoProcessor,
)

from simdata import encoders
from simdata.films.blocks import stimulus_blocks

FILMS = {
    "16:9 at 25": (320, 180, 25),
    "4:3 at 24": (256, 192, 24),
    "portrait at 29.97": (134, 238, "30000/1001"),
}
SECONDS, WINDOW = 6, 3
SIDE = 32
TOWER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 8,
}
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "vocab_size": 100,
    "max_position_embeddings": 8,
}
VIDEOMAE = {k: v for k, v in TOWER.items() if k != "patch_size"} | {
    "patch_size": 8,
    "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 16,
    "use_mean_pooling": True,
}
VJEPA2 = {
    "crop_size": SIDE,
    "frames_per_clip": 16,
    "hidden_size": 48,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "mlp_ratio": 2.0,
    "num_pooler_layers": 1,
    "pred_hidden_size": 24,
    "pred_num_attention_heads": 2,
    "pred_num_hidden_layers": 1,
}


@pytest.fixture(scope="module", params=FILMS)
def film(request, tmp_path_factory):
    """A film, its pictures as PyAV decodes them, and their times in s."""
    width, height, rate = FILMS[request.param]
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    rng = np.random.default_rng(width)
    scene = rng.integers(0, 256, (height // 4, width // 2, 3), np.uint8).repeat(12, 0).repeat(6, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate), options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(int(SECONDS * Fraction(rate)) + 1):
            y, x = (number * 3) % height, (number * 5) % width
            image = np.ascontiguousarray(scene[y : y + height, x : x + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        frames = [(f.to_ndarray(format="rgb24"), f.time) for f in container.decode(video=0)]
    return path, np.stack([picture for picture, _ in frames]), np.array([time for _, time in frames])


def randomised(model, folder):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    model.eval().save_pretrained(folder)
    return model


def own(times, second, window=WINDOW):
    """Numbers of the pictures that come on screen in a window."""
    return np.flatnonzero((times > second - 1e-3) & (times < second + window - 1e-3))


def shown(times, wanted):
    """Numbers of the pictures on screen at some times."""
    return np.searchsorted(times, wanted + 1e-6, side="right") - 1


def even(times, second, number):
    return shown(times, second + (np.arange(number) + 0.5) * WINDOW / number)


def linspace(times, second, number):
    inside = own(times, second)
    return inside[np.linspace(0, len(inside) - 1, number, dtype=np.int64)]


def interval(step):
    """MMAction2's SampleFrames(clip_len=number, frame_interval=step, num_clips=1, test_mode=True)."""

    def sample_frames(times, second, number):
        inside = own(times, second)
        offset = max(len(inside) - ((number - 1) * step + 1), 0) // 2
        return inside[np.mod(offset + np.arange(number) * step, len(inside))]

    return sample_frames


def embedded(path, text):
    """(rows, features) by simdata, of the windows inside the film, and the array's attributes."""
    encoder = encoders.create(text)
    # Blocks of 2 s: windows reach into the next one.
    blocks = list(stimulus_blocks(path, [encoder], [(0, 2), (2, 4), (4, SECONDS)]))
    rows = np.concatenate([block.embeddings[encoder.array] for block in blocks])
    assert np.isnan(rows[SECONDS - WINDOW + 1 :]).all()
    return rows[: SECONDS - WINDOW + 1], json.loads(json.dumps(encoder.attributes()))["parameters"]


def check(rows, expected):
    """Row by row, and against what tells rows from each other: constants would have a cosine of 1 too."""
    assert rows.shape == expected.shape
    cosine = (rows * expected).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() >= 0.9999
    spread = np.linalg.norm(expected - expected.mean(axis=0), axis=1)
    error = np.linalg.norm(rows - expected, axis=1)
    assert (error < 1e-3 * spread).all()


@torch.no_grad()
def of_pictures(model, processor, film, rate=2):
    """Mean over pictures, one by one: (rows, features)."""
    _, pictures, times = film
    rows = []
    for second in range(SECONDS - WINDOW + 1):
        chosen = pictures[even(times, second, WINDOW * rate)]
        inputs = processor(list(chosen), return_tensors="pt")
        rows.append(model.get_image_features(**inputs).pooler_output.mean(dim=0).numpy())
    return np.stack(rows)


@torch.no_grad()
def of_clips(outputs, processor, film, choose, number=16):
    _, pictures, times = film
    rows = []
    for second in range(SECONDS - WINDOW + 1):
        chosen = pictures[choose(times, second, number)]
        video = list(chosen) if isinstance(processor, VideoMAEImageProcessor) else torch.from_numpy(chosen)
        rows.append(outputs(processor(video, return_tensors="pt"))[0].numpy())
    return np.stack(rows)


CLIP_PROCESSORS = {
    "as OpenAI's": {},
    "other statistics, no crop": {
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "do_center_crop": False,
        "size": {"height": SIDE, "width": SIDE},
    },
    "bilinear, a margin": {"resample": 2, "size": {"shortest_edge": 40}, "rescale_factor": 1 / 127.5},
}


@pytest.mark.parametrize("name", CLIP_PROCESSORS)
def test_clip(film, tmp_path, name):
    torch.manual_seed(0)
    vision = TOWER | {"projection_dim": 24, "hidden_act": "gelu"}
    config = CLIPConfig(vision_config=vision, text_config=TEXT, projection_dim=24)
    model = randomised(CLIPModel(config), tmp_path)
    size = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    processor = CLIPImageProcessor(**size | CLIP_PROCESSORS[name])
    processor.save_pretrained(tmp_path)
    rows, parameters = embedded(film[0], f"clip,weights={tmp_path}")
    check(rows, of_pictures(model, processor, film))
    assert parameters["activation"] == "gelu"


@pytest.mark.parametrize("resample", [2, 3])
def test_siglip(film, tmp_path, resample):
    """SigLIP 2 of one resolution is a SigLIP with bilinear resizing."""
    torch.manual_seed(0)
    config = SiglipConfig(vision_config=TOWER, text_config=TEXT | {"projection_size": 32})
    model = randomised(SiglipModel(config), tmp_path)
    processor = SiglipImageProcessor(size={"height": SIDE, "width": SIDE}, resample=resample)
    processor.save_pretrained(tmp_path)
    rows, parameters = embedded(film[0], f"siglip,weights={tmp_path}")
    check(rows, of_pictures(model, processor, film))
    assert parameters["preprocessing"]["resize"]["interpolation"] == {2: "bilinear", 3: "bicubic"}[resample]


@pytest.mark.parametrize("kind", [VideoMAEImageProcessor, VideoMAEVideoProcessor])
@pytest.mark.parametrize(
    ("frames", "choose"), [("", linspace), (",frames=even", even), (",frames=interval:4", interval(4))]
)
def test_videomae(film, tmp_path, kind, frames, choose):
    torch.manual_seed(0)
    model = randomised(VideoMAEForVideoClassification(VideoMAEConfig(**VIDEOMAE)), tmp_path)
    processor = kind(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    processor.save_pretrained(tmp_path)

    def outputs(inputs):
        return model.fc_norm(model.videomae(**inputs).last_hidden_state.mean(dim=1))

    rows, parameters = embedded(film[0], f"videomae,weights={tmp_path}{frames}")
    check(rows, of_clips(outputs, processor, film, choose))
    assert parameters["frames"] == 16
    assert parameters["frames_taken"].startswith(frames.removeprefix(",frames=") or "linspace:")


@pytest.mark.parametrize(
    ("frames", "number", "choose"), [("", 16, even), (",frames=8:linspace", 8, linspace)]
)
def test_vjepa2(film, tmp_path, frames, number, choose):
    torch.manual_seed(0)
    model = randomised(VJEPA2Model(VJEPA2Config(**VJEPA2)), tmp_path)
    processor = VJEPA2VideoProcessor(crop_size=SIDE)
    processor.save_pretrained(tmp_path)

    def outputs(inputs):
        return model.get_vision_features(**inputs).mean(dim=1)

    rows, parameters = embedded(film[0], f"vjepa2,weights={tmp_path}{frames}")
    check(rows, of_clips(outputs, processor, film, choose, number))
    assert parameters["frames"] == number
    assert parameters["preprocessing"]["resize"]["shorter_side"] == 36


@torch.no_grad()
def test_the_attributes_suffice_to_do_it_again(film, tmp_path):
    """With nothing else but the film and the weights, by torchvision."""
    torch.manual_seed(0)
    vision = TOWER | {"projection_dim": 24, "hidden_act": "quick_gelu"}
    model = randomised(CLIPVisionModelWithProjection(CLIPVisionConfig(**vision)), tmp_path)
    settings = {"resample": 2, "size": {"shortest_edge": 40}, "crop_size": SIDE, "rescale_factor": 1 / 200}
    CLIPImageProcessor(**settings, image_mean=[0.4, 0.5, 0.6]).save_pretrained(tmp_path)
    rows, parameters = embedded(film[0], f"clip,weights={tmp_path},rate=3")
    prepared, statistics = parameters["preprocessing"], parameters["normalisation"]
    resize = prepared["resize"]
    assert (resize["method"], resize["longer_side"]) == ("exact", "in proportion, rounded down")
    assert prepared["center_crop_begins"] == "at int((length - crop) / 2)"
    _, pictures, times = film
    for second, row in enumerate(rows):
        numbers = even(times, second, parameters["frames"])
        pixels = torch.from_numpy(pictures[numbers]).permute(0, 3, 1, 2)
        mode = InterpolationMode(resize["interpolation"])
        pixels = functional.resize(pixels, resize["shorter_side"], mode, antialias=resize["antialias"])
        height, width = prepared["center_crop"]
        top, left = (pixels.shape[2] - height) // 2, (pixels.shape[3] - width) // 2
        pixels = functional.crop(pixels, top, left, height, width) * prepared["rescale_factor"]
        inputs = functional.normalize(pixels, statistics["mean"], statistics["std"])
        again = model(inputs).image_embeds.mean(dim=0).numpy()
        np.testing.assert_allclose(row, again, rtol=1e-3, atol=1e-4)
    assert parameters["frames_taken"].startswith("on screen at s + (k + 1/2) / 3 s")


def test_fast_is_near(film, tmp_path):
    """And it is another array: its attributes say so."""
    torch.manual_seed(0)
    randomised(VJEPA2Model(VJEPA2Config(**VJEPA2)), tmp_path)
    VJEPA2VideoProcessor(crop_size=SIDE).save_pretrained(tmp_path)
    exact, one = embedded(film[0], f"vjepa2,weights={tmp_path}")
    fast, other = embedded(film[0], f"vjepa2,weights={tmp_path},resize=fast")
    cosine = (exact * fast).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(fast, axis=1)
    assert 0.95 < cosine.min() < 1
    assert one["preprocessing"].pop("resize") != other["preprocessing"].pop("resize")
    assert one == other
