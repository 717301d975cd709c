"""What lies beside the weights, against transformers' processors that wrote it."""

import json

import numpy as np
import pytest
import torch
import transformers

from simdata.common.errors import UserError
from simdata.encoders.preprocessing import HALF, IMAGENET, Preprocessing, read_preprocessing

PUBLISHED = Preprocessing(224, (224, 224), "bicubic", *HALF)
SHAPES = [(90, 160), (120, 90), (67, 91), (80, 80)]
WRITTEN = [
    ("CLIPImageProcessor", {}),
    ("CLIPImageProcessor", {"size": 96, "crop_size": 64}),
    ("CLIPImageProcessor", {"size": {"height": 50, "width": 60}, "do_center_crop": False, "image_mean": 0.5}),
    ("CLIPImageProcessor", {"size": {"height": 90, "width": 70}, "crop_size": {"height": 61, "width": 64}}),
    ("CLIPImageProcessor", {"size": 50, "crop_size": 71}),  # padded with black
    ("CLIPImageProcessor", {"resample": 2, "do_normalize": False}),
    ("CLIPImageProcessor", {"do_rescale": False, "image_std": [50, 60, 70]}),
    ("CLIPImageProcessor", {"do_rescale": False, "do_normalize": False}),
    ("CLIPImageProcessor", {"rescale_factor": 1 / 127.5}),
    ("CLIPImageProcessor", {"default_to_square": True, "size": 80, "do_center_crop": False}),
    ("SiglipImageProcessor", {"resample": 2, "size": {"height": 48, "width": 48}}),
    ("SiglipImageProcessor", {"size": 60, "do_center_crop": True, "crop_size": 56}),
    ("ViTImageProcessor", {"size": 40}),
    ("BitImageProcessor", {}),
    ("VideoMAEImageProcessor", {"size": 64, "crop_size": 64}),
    ("VideoMAEVideoProcessor", {"size": 64, "crop_size": 32}),
    ("VJEPA2VideoProcessor", {"crop_size": 32}),
    ("VJEPA2VideoProcessor", {"crop_size": {"height": 96, "width": 96}}),
]


def by_transformers(processor, pictures):
    """(n, 3, y, x)"""
    if processor.__class__.__name__.endswith("VideoProcessor"):
        (video,) = processor([torch.from_numpy(pictures)], return_tensors="pt").values()
        return video[0].numpy()
    pixels = processor(list(pictures), return_tensors="pt")["pixel_values"].numpy()
    return pixels.reshape(-1, *pixels.shape[-3:])


def ours(preprocessing, pictures):
    scale, shift = preprocessing.scale_and_shift()
    return (preprocessing.picture(pictures) * scale + shift).transpose(0, 3, 1, 2)


def read(folder, own="CLIP", video=False):
    return read_preprocessing("clip", folder / "model.safetensors", PUBLISHED, own, video=video)


@pytest.mark.parametrize("nested", [False, True], ids=["a file of its own", "part of processor_config.json"])
@pytest.mark.parametrize(("name", "settings"), WRITTEN)
def test_what_a_processor_writes_is_obeyed(tmp_path, name, settings, nested):
    processor = getattr(transformers, name)(**settings)
    processor.save_pretrained(tmp_path)
    if nested:
        (file,) = tmp_path.iterdir()
        part = "video_processor" if name.endswith("VideoProcessor") else "image_processor"
        whole = {part: json.loads(file.read_text()), "processor_class": "Some"}
        (tmp_path / "processor_config.json").write_text(json.dumps(whole))
        file.write_text(json.dumps({"do_resize": False}))  # goes behind
    found = read(tmp_path, video=name.startswith("V"))
    for shape in SHAPES:
        pictures = np.random.default_rng(0).integers(0, 256, (2, *shape, 3), np.uint8)
        expected = by_transformers(processor, pictures)
        seen = ours(found, pictures)
        assert seen.shape == expected.shape
        np.testing.assert_allclose(seen, expected, atol=1e-5 * max(1, abs(expected).max()))
    assert found.seen == expected.shape[2:]


def test_old_files_say_less(tmp_path):
    """openai/clip-vit-base-patch32's, as it is on the hub; keys that are null count as left out."""
    old = {
        "crop_size": 224,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "size": 224,
        "do_rescale": None,
        "_valid_processor_keys": ["images", "do_resize"],
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(old))
    found = read(tmp_path)
    assert (found.size, found.crop) == (224, (224, 224))
    assert (found.interpolation, found.rescale) == ("bicubic", 1 / 255)
    (tmp_path / "preprocessor_config.json").unlink()
    assert read(tmp_path) is PUBLISHED


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"do_resize": False}, "do_resize = false is not supported: films have pictures of other sizes"),
        ({"do_center_crop": False}, "do_center_crop = false .* pictures of any shape"),
        ({"resample": 1}, r"resample = 1 .*2 \(bilinear\) and 3 \(bicubic\)"),
        ({"resample": [3]}, r"resample = \[3\]"),
        ({"size": {"longest_edge": 224}}, "size = .*longest_edge.*shortest_edge, or height and width"),
        ({"size": {"shortest_edge": 224, "longest_edge": 448}}, "size = "),
        ({"size": "224"}, 'size = "224"'),
        ({"size": -1}, "size = -1"),
        ({"crop_size": {"height": 224}}, "crop_size = .*supported are height and width"),
        ({"do_normalize": "yes"}, 'do_normalize = "yes" .*true and false'),
        ({"rescale_factor": "1/255"}, "rescale_factor"),
        ({"image_mean": [0.5, 0.5]}, "image_mean = .*one each for red, green and blue"),
        ({"image_std": [0.5, 0, 0.5]}, "image_std = .*above 0"),
        ({"do_pad": True}, "do_pad = true .*does not know"),
        ({"crop_pct": 0.875}, "crop_pct = 0.875 .*does not know"),
        ({"do_sample_frames": True, "num_frames": 8}, "do_sample_frames = true .*frames="),
        ({"image_processor_type": "Siglip2ImageProcessor"}, ".*Siglip2ImageProcessor.*NaFlex"),
        (
            {"image_processor_type": "ConvNextImageProcessor"},
            ".*ConvNextImageProcessor.*supported are the",
        ),
        ({"video_processor_type": "VJEPA2VideoProcessor", "size": 300}, "size = .*300.*resizes to 292"),
        ([], "holds a list"),
    ],
)
def test_what_is_not_supported_is_refused_by_file_key_and_value(tmp_path, content, message):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"clip: .*preprocessor_config\.json: {message}"):
        read(tmp_path)


def test_what_is_no_json(tmp_path):
    (tmp_path / "processor_config.json").write_text("{")
    with pytest.raises(UserError, match=r"processor_config\.json: cannot be read as JSON"):
        read(tmp_path)


def test_the_longer_side_is_rounded_as_publishers_do():
    """318 pixels where 318.2 would be exact, 319 for MMAction2 where it is 318.6."""
    floor = Preprocessing(224, (224, 224), "bilinear", *IMAGENET)
    nearest = Preprocessing(224, (224, 224), "bilinear", *IMAGENET, long_side="round")
    assert floor.resized(1024, 720) == (318, 224)
    assert floor.resized(720, 1024) == (224, 318)
    assert (floor.resized(720, 1280)[1], nearest.resized(720, 1280)[1]) == (398, 398)
    assert (floor.resized(576, 1024)[1], floor.resized(480, 854)[1]) == (398, 398)
    assert (floor.resized(450, 800)[1], nearest.resized(450, 801)[1]) == (398, 399)


def test_fast_grids(tmp_path):
    margin = Preprocessing(292, (256, 256), "bilinear", *IMAGENET)
    grid, off = margin.grid("vjepa2", "fast", rate=4)
    assert (grid.size, grid.fit, grid.resize, off) == ((292, 292), "crop", None, 18)
    grid, off = margin.grid("vjepa2", "exact", rate=4)
    assert (grid.size, grid.resize is not None, off) == ((256, 256), True, 0)
    with pytest.raises(UserError, match=r"resize=fast cannot .*use resize=exact"):
        Preprocessing(50, (71, 71), "bilinear", *IMAGENET).grid("clip", "fast", rate=4)
