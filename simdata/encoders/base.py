"""What an encoder is: a film's pictures, sound or words in, one embedding for every second's window out."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from simdata.common.errors import UserError

Fit = Literal["stretch", "crop"]
Interpolation = Literal["bilinear", "bicubic"]

MODALITY = re.compile("[a-z][a-z0-9]*")
# The store's own arrays begin so.
TAKEN = ("bold", "film", "fmri", "phase", "run", "scene", "simdata", "subject")
END_OF_FILM = "rows whose window is not wholly inside the film are NaN; nothing is padded or repeated"


def valid_modality(text: str) -> str:
    """A modality's name, as it is; raises ValueError unless arrays can be called by it."""
    if not MODALITY.fullmatch(text) or text in TAKEN:
        raise ValueError(
            f"{text!r} is no modality: give video, audio, or another word of lower-case letters and digits "
            f"but {', '.join(TAKEN)}"
        )
    return text


class Settings(BaseModel):
    """What a user may choose of any encoder.

    ``name`` names the array instead of the encoder's own name, so that one encoder can be there twice. Row s
    describes the clip [s, s + ``window``) seconds; only every ``stride``-th row is made, the others are NaN.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")] | None = None
    window: Annotated[int, Field(ge=1, le=16)] = 3
    stride: Annotated[int, Field(ge=1)] = 1


AnySettings = Settings  # in the classes below, ``Settings`` is their attribute


class Encoder(ABC):
    """Makes row s of an embedding array from the window [s, s + window) seconds of a film.

    A row does not depend on the span of the film it is computed in.

    Attributes
    ----------
    name : names the array ``<modality>_<name>`` and its last dimension ``<name>_feature``
    encoder : the name under which it is registered
    summary : a line for ``simdata encoders list``
    takes : what of the film it is given: "video" (pictures), "audio" (sound) or "text" (the words said)
    modality : what of the film a row tells of: the same, or another word of lower-case letters and digits,
        such as "text" of an encoder that hears speech (`AudioEncoder`) or reads it (`VideoEncoder`)
    features : length of a row
    window, stride : seconds
    weights_sha256 : of the file of weights, "" without
    """

    encoder: ClassVar[str]
    summary: ClassVar[str] = ""
    takes: ClassVar[str]
    modality: ClassVar[str]
    Settings: ClassVar[type[AnySettings]] = AnySettings
    features: int
    weights_sha256: str = ""

    def __init__(self, settings: AnySettings | None = None) -> None:
        self.settings = settings or self.Settings()
        self.name = self.settings.name or self.encoder
        self.window, self.stride = self.settings.window, self.settings.stride

    @property
    def array(self) -> str:
        """Name of the store's array."""
        return f"{self.modality}_{self.name}"

    @abstractmethod
    def encode(self, span: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Rows of a span of the film.

        Parameters
        ----------
        span : the film from some second on, whole seconds, as `VideoEncoder`, `AudioEncoder` and
            `TextEncoder` say
        starts : (n,) int, seconds from the span's beginning at which the windows begin; all lie in the span

        Returns
        -------
        (n, features) float32
        """

    def rows(self, span: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """What `encode` returns, checked.

        Raises
        ------
        UserError
            If it raises, or returns something else than (n, features) numbers: names the encoder.
        """
        wanted = (len(starts), self.features)
        try:
            rows = np.asarray(self.encode(span, starts))
        except UserError:
            raise
        except Exception as error:  # another package's code may raise anything
            reason = f"{type(error).__name__}: {error}"
            raise UserError(f"encoder {self.name}: encode failed ({reason})") from error
        if rows.shape != wanted or rows.dtype.kind != "f":
            raise UserError(
                f"encoder {self.name}: encode returned {rows.dtype} of shape {rows.shape}; for these windows "
                f"and its features it should be float32 of shape {wanted}"
            )
        return rows

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """What else decides the values: kept in the array's attributes, as JSON."""

    def identity(self) -> dict[str, Any]:
        """All that decides the values, as JSON."""
        return {
            "encoder": self.encoder,
            "modality": self.modality,
            "window": self.window,
            "stride": self.stride,
            "weights_sha256": self.weights_sha256,
            "parameters": self.parameters(),
        }

    def attributes(self) -> dict[str, Any]:
        """Attributes of the array in the store."""
        text = f"{self.modality} embedding of the {self.window} s that begin with this second"
        return {"long_name": text, **self.identity(), "end_of_film": END_OF_FILM}


@dataclass(frozen=True)
class Grid:
    """The pictures that a video encoder wants: those on screen at times (k + ``phase``) / ``rate`` s.

    ``size`` is (y, x). "stretch" scales a picture to it whatever its shape; "crop" scales it until it covers
    ``size`` and keeps the middle. Both scale with FFmpeg, straight from the decoded picture, by
    ``interpolation`` without aliases. ``resize`` is another way, instead: it makes (n, *size, 3) uint8 of
    (n, y, x, 3) uint8 RGB pictures of the film's size.

    ``choose`` asks for the film's own pictures, at whatever rate it has them. Then a second of the grid holds
    the ``rate`` pictures of the window [s, s + ``window``) that begins with it: of the n pictures that come
    on screen in the window, those that ``choose(n)`` numbers, from 0 on. It raises a UserError for too few.
    """

    rate: int
    size: tuple[int, int]
    fit: Fit = "stretch"
    phase: float = 0.0
    interpolation: Interpolation = "bilinear"
    resize: Callable[[np.ndarray], np.ndarray] | None = None
    choose: Callable[[int], np.ndarray] | None = None
    window: int = 1

    def seconds(self, window: int) -> int:
        """How many of the grid's seconds a window of so many seconds of the film takes."""
        return 1 if self.choose else window

    def needs(self, start: int, stop: int) -> int:
        """The second of the film until which the grid's seconds [start, stop) look."""
        return stop - 1 + self.window if self.choose and stop > start else stop


class VideoEncoder(Encoder):
    """Its span is (seconds * grid.rate, *grid.size, 3) uint8 RGB; see `Grid` for what a second holds."""

    takes = modality = "video"
    grid: Grid


class AudioEncoder(Encoder):
    """Its span is (seconds * 16000,) float32, mono, full scale is 1.

    ``context`` is how many seconds of the film before and after the windows its spans hold too, as far as
    there is sound. Such an encoder is always given the rows of one block (``BLOCK``) of the film, so that its
    rows do not depend on who asks.
    """

    takes = modality = "audio"
    context: int = 0


class TextEncoder(Encoder):
    """Its span is the whole film's words, (n,) `simdata.common.words.WORD` by onset, from the film's 0 on.

    A word is in the window in which it begins. Rows of windows without a word are numbers too, and the
    encoder's ``parameters`` say which.
    """

    takes = modality = "text"

    def identity(self) -> dict[str, Any]:
        """As of any encoder, and what it takes."""
        return {**super().identity(), "takes": self.takes}


def uniform_frames(frames: int, window: int) -> tuple[int, float, np.ndarray]:
    """How to see ``frames`` pictures in the middles of equal parts of a window, for windows at any second.

    Returns
    -------
    rate, phase : of a `Grid` that has all of them
    index : (frames,) int, their places on the grid, from that of the window's first second on
    """
    # Picture k is wanted at (k + 1/2) * window / frames = (k * step + step / 2) / rate.
    common = math.gcd(frames, window)
    rate, step = frames // common, window // common
    return rate, step % 2 / 2, np.arange(frames) * step + step // 2
