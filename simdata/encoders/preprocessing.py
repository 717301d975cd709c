"""What a publisher does to a picture before the model sees it: read from the file beside the weights.

`simdata.encoders.processor_files` says which files those are. A picture prepared otherwise than in training
gives an embedding that only looks like one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.functional import interpolate, pad

from simdata.common.errors import UserError
from simdata.encoders.base import Fit, Grid, Interpolation
from simdata.encoders.processor_files import ProcessorFile, is_length, is_number

Statistics = tuple[float, float, float]  # of red, green and blue
Size = tuple[int, int]  # y, x

IMAGENET: tuple[Statistics, Statistics] = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OPENAI: tuple[Statistics, Statistics] = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)
HALF: tuple[Statistics, Statistics] = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
INTERPOLATIONS: dict[int, Interpolation] = {2: "bilinear", 3: "bicubic"}  # by PIL's number


@dataclass(frozen=True)
class Preprocessing:
    """Resize, cut the middle out, scale to numbers, as torchvision does it on RGB.

    Attributes
    ----------
    size : of the shorter side, the other one in proportion; or (y, x) whatever the picture's shape
    crop : (y, x) of the middle that is kept, padded with black where the picture is smaller; None keeps all
    mean, std : of (colour * ``rescale``), which is less the mean and divided by the s.d.
    antialias : whether a picture that is made smaller is smoothed first
    long_side : how the longer side's length becomes whole: cut off (torchvision) or rounded (MMAction2)
    source : where all that comes from
    """

    size: int | Size
    crop: Size | None
    interpolation: Interpolation
    mean: Statistics
    std: Statistics
    rescale: float = 1 / 255
    antialias: bool = True
    long_side: Literal["floor", "round"] = "floor"
    source: str = "the publisher's defaults: no file beside the weights says otherwise"

    @property
    def seen(self) -> Size:
        """(y, x) of what the model gets."""
        if self.crop is not None:
            return self.crop
        assert not isinstance(self.size, int)  # that would depend on the film: `_read` refuses it
        return self.size

    @property
    def fit(self) -> Fit:
        """How a `Grid` brings a picture to ``size``."""
        return "crop" if isinstance(self.size, int) else "stretch"

    def resized(self, height: int, width: int) -> Size:
        """(y, x) of a picture after resizing."""
        if not isinstance(self.size, int):
            return self.size
        short, long = sorted((height, width))
        exact = self.size * long / short
        other = int(exact + 0.5) if self.long_side == "round" else int(exact)
        return (other, self.size) if height > width else (self.size, other)

    def picture(self, pictures: np.ndarray) -> np.ndarray:
        """(n, y, x, 3) uint8 RGB, whole, to (n, *seen, 3) uint8.

        On the CPU, torch resizes uint8 by integers; that is torchvision's way on the usual processors, and
        within one level of its other way (through float32).
        """
        size = self.resized(*pictures.shape[1:3])
        # Channels stay last in memory: torch has its fast way for that.
        image = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2)
        if size != tuple(image.shape[2:]):
            image = _resize(image, size, self.interpolation, self.antialias)
        if self.crop:
            image = _middle(image, self.crop)
        return np.ascontiguousarray(image.permute(0, 2, 3, 1).numpy())

    def scale_and_shift(self) -> tuple[np.ndarray, np.ndarray]:
        """Colour * scale + shift is what the model gets: (3,) float64 each."""
        mean, std = np.array(self.mean), np.array(self.std)
        return self.rescale / std, -mean / std

    def grid(self, encoder: str, how: str, **sampling: Any) -> tuple[Grid, int]:
        """The pictures to ask a film for, and how many pixels to take off each side of them then.

        ``how`` is "exact", or "fast": resized by the decoder, which can only cover a square or stretch.
        """
        height, width = self.seen
        if how == "exact":
            return Grid(size=self.seen, fit=self.fit, resize=self.picture, **sampling), 0
        size = (self.size, self.size) if isinstance(self.size, int) else self.size
        off = {size[0] - height, size[1] - width}
        if len(off) > 1 or min(off) < 0 or min(off) % 2:
            raise UserError(
                f"{encoder}: resize=fast cannot resize to {self.size} and keep the middle {height} x {width} "
                f"({self.source}); use resize=exact"
            )
        return Grid(size=size, fit=self.fit, interpolation=self.interpolation, **sampling), off.pop() // 2

    def attributes(self, how: str) -> dict[str, Any]:
        """What an array's attributes say of it."""
        size = {"shorter_side": self.size, "longer_side": f"in proportion, {_ROUNDED[self.long_side]}"}
        if not isinstance(self.size, int):
            size = {"height": self.size[0], "width": self.size[1]}
        return {
            "preprocessing": {
                "from": self.source,
                "resize": {
                    "method": how,
                    **size,
                    "interpolation": self.interpolation,
                    "antialias": self.antialias or how == "fast",
                    "of": _RESIZED[how],
                },
                "center_crop": list(self.crop) if self.crop else None,
                "center_crop_begins": "at int((length - crop) / 2)" if self.crop else None,
                "rescale_factor": self.rescale,
            },
            "normalisation": {"mean": list(self.mean), "std": list(self.std)},
        }


_RESIZED = {
    "exact": "RGB of the whole picture, uint8, by torch.nn.functional.interpolate",
    "fast": "the decoded picture, by FFmpeg's swscale",
}
_ROUNDED = {"floor": "rounded down", "round": "rounded to the nearest"}


def _resize(image: torch.Tensor, size: Size, interpolation: str, antialias: bool) -> torch.Tensor:
    if len(image) == 1:
        # Of a single picture, torch would not see that its channels are last: torchvision's remedy.
        _, channels, height, width = image.shape
        strides = (channels * height * width, 1, width * channels, channels)
        image = image.as_strided(image.shape, strides)
    return interpolate(image, size=size, mode=interpolation, align_corners=False, antialias=antialias)


def _middle(image: torch.Tensor, crop: Size) -> torch.Tensor:
    """The middle as torchvision and transformers place it.

    An odd pixel more is left out below and on the right, and an odd one of padding added there.
    """
    lacks = [max(want - has, 0) for want, has in zip(crop, image.shape[2:], strict=True)]
    if any(lacks):
        below, right = (lack - lack // 2 for lack in lacks)
        image = pad(image, (lacks[1] // 2, right, lacks[0] // 2, below))
    top, left = ((has - want) // 2 for want, has in zip(crop, image.shape[2:], strict=True))
    return image[:, :, top : top + crop[0], left : left + crop[1]]


# What a class of processors does where its file says nothing, and whether one number as size is a square.
_CLASSES = {
    "CLIP": Preprocessing(224, (224, 224), "bicubic", *OPENAI),
    "Bit": Preprocessing(224, (224, 224), "bicubic", *OPENAI),
    "Siglip": Preprocessing((224, 224), None, "bicubic", *HALF),
    "ViT": Preprocessing((224, 224), None, "bilinear", *HALF),
    "VideoMAE": Preprocessing(224, (224, 224), "bilinear", *HALF),
    "VJEPA2": Preprocessing(292, (256, 256), "bilinear", *IMAGENET),
}
_ENDINGS = ("ImageProcessorFast", "ImageProcessorPil", "ImageProcessor", "VideoProcessor", "FeatureExtractor")
_TYPES = ("video_processor_type", "image_processor_type", "feature_extractor_type")
_SQUARE = {"ViT", "VJEPA2"}
# Keys that change nothing of a film's RGB pictures.
_IDLE = {"do_convert_rgb", "return_metadata", "disable_grouping", "video_metadata", "num_frames", "fps"}


def read_preprocessing(
    encoder: str, file: Path, published: Preprocessing, own: str, *, video: bool
) -> Preprocessing:
    """What the files beside a file of weights say; ``published`` where there are none.

    Parameters
    ----------
    own : class of processors of the model, "CLIP" or so, where a file does not name one
    video : whether the model has a processor of videos, whose file goes first

    Raises
    ------
    UserError
        If a file cannot be read, or says what is not supported here: names the file, key and value.
    """
    parts = ("video_processor", "image_processor") if video else ("image_processor",)
    found = ProcessorFile.find(encoder, file, *parts)
    return published if found is None else _read(found, own)


def _read(file: ProcessorFile, own: str) -> Preprocessing:
    kind = _kind(file, own)
    default = _CLASSES[kind]
    size, crop = _size(file, kind, default), _crop(file, default)
    if kind == "VJEPA2":
        size = _vjepa2(file, size, crop or (256, 256))
    resample = file.take("resample", lambda n: n in INTERPOLATIONS, "2 (bilinear) and 3 (bicubic)")
    factor = file.take("rescale_factor", is_number, "numbers", default.rescale)
    mean, std = (_colours(file, key, getattr(default, key)) for key in ("mean", "std"))
    if not file.flag("do_normalize", True):
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    made = Preprocessing(
        size=size,
        crop=crop,
        interpolation=default.interpolation if resample is None else INTERPOLATIONS[resample],
        mean=mean,
        std=std,
        rescale=factor if file.flag("do_rescale", True) else 1.0,
        source=f"{file.name}, {kind}'s defaults where it says nothing",
    )
    if file.flag("do_sample_frames", False):
        raise file.refused("do_sample_frames", True, "say frames= behind the encoder's name, and false there")
    file.refuse_rest(_IDLE)
    if made.crop is None and isinstance(made.size, int):
        raise file.refused(
            "do_center_crop", False, "with one length as size the model would get pictures of any shape"
        )
    return made


def _kind(file: ProcessorFile, own: str) -> str:
    for key in _TYPES:
        name = file.take(key, lambda value: isinstance(value, str), "names")
        if name is None:
            continue
        kind = next((name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)), None)
        if kind == "Siglip2":
            raise file.refused(key, name, "NaFlex is not supported; take a model of one resolution")
        if kind not in _CLASSES:
            raise file.refused(key, name, f"supported are the processors of {', '.join(sorted(_CLASSES))}")
        return kind
    return own


def _size(file: ProcessorFile, kind: str, default: Preprocessing) -> int | Size:
    if not file.flag("do_resize", True):
        raise file.refused("do_resize", False, "films have pictures of other sizes than the model")
    square = file.flag("default_to_square", kind in _SQUARE)
    value = file.take("size")
    if value is None:
        return default.size
    if is_length(value) and not square:
        return value
    if isinstance(value, dict):
        given = {key: length for key, length in value.items() if length is not None}
        if given.keys() == {"shortest_edge"} and is_length(given["shortest_edge"]):
            return given["shortest_edge"]
    return _area(file, "size", value)


def _crop(file: ProcessorFile, default: Preprocessing) -> Size | None:
    wanted, value = file.flag("do_center_crop", default.crop is not None), file.take("crop_size")
    if not wanted:
        return None
    if value is not None:
        return _area(file, "crop_size", value)
    if default.crop is None:
        raise file.refused("do_center_crop", True, "crop_size must be there too")
    return default.crop


def _vjepa2(file: ProcessorFile, size: int | Size, crop: Size) -> int:
    """VJEPA2VideoProcessor sets its size itself, whatever the file says."""
    own = int(crop[0] * 256 / 224)
    if size not in (own, _CLASSES["VJEPA2"].size):
        raise file.refused("size", size, f"V-JEPA 2 resizes to {own} for a crop_size of {crop[0]}")
    return own


def _area(file: ProcessorFile, key: str, value: Any) -> Size:
    if is_length(value):
        return value, value
    lengths: list[Any] = []
    if isinstance(value, dict):
        given = {name: length for name, length in value.items() if length is not None}
        if given.keys() == {"height", "width"}:
            lengths = [given["height"], given["width"]]
    elif isinstance(value, list):
        lengths = value
    if len(lengths) != 2 or not all(map(is_length, lengths)):
        also = "shortest_edge, or " if key == "size" else ""
        raise file.refused(key, value, f"supported are {also}height and width, in pixels")
    return lengths[0], lengths[1]


def _colours(file: ProcessorFile, key: str, default: Statistics) -> Statistics:
    name = f"image_{key}"
    value = file.take(name)
    if value is None:
        return default
    three = [value] * 3 if is_number(value) else value
    if not isinstance(three, list) or len(three) != 3 or not all(map(is_number, three)):
        raise file.refused(name, value, "it must be a number, or one each for red, green and blue")
    if key == "std" and min(three) <= 0:
        raise file.refused(name, value, "a standard deviation is above 0")
    return three[0], three[1], three[2]
