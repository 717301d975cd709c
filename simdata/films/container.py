"""What a film is: streams, times, sizes and colours, as a player takes them.

Time 0 is where a player begins: the earliest picture or sound that is shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type

from simdata.common.errors import UserError
from simdata.common.film_clock import AUDIO_RATE
from simdata.films.colours import Colours
from simdata.films.packets import MISSING, Track, read_packets
from simdata.films.streams import convert, film_streams, open_film

RATE_OFF = 0.02  # of a rate: what rounding and the ends of a cut may do to it
SAME = 1e-3  # s: picture and sound that begin together but for rounding
REORDERED = {"avi"}  # formats that state when a packet is decoded, not when its picture is shown

Times = Literal["stated", "sorted", "regular"]


@dataclass(frozen=True)
class PictureInfo:
    """A film's pictures.

    Attributes
    ----------
    stream : its number in the file
    zero : s, time 0 of the film on the container's own clock
    start, end : s from time 0 to the first picture, and to when the last one goes
    rate : pictures in a second
    width, height : as it is shown: upright, with square pixels
    coded : (x, y) pixels of a picture as it is coded
    turn : whether a coded picture's axes are swapped, and then its rows and columns reversed, to be upright
    times : how a picture's time is known: "stated"; "sorted" where pictures carry each other's times; or
        "regular", from the first one on at the film's rate
    colour : how pictures become RGB
    """

    stream: int
    zero: float
    start: float
    end: float
    rate: float
    width: int
    height: int
    coded: tuple[int, int]
    turn: tuple[bool, bool, bool]
    times: Times
    colour: Colours


@dataclass(frozen=True)
class SoundInfo:
    """A film's sound: number of its stream, the film's time 0 on the container's clock, first sample, end."""

    stream: int
    zero: float
    start: float
    end: float


@dataclass(frozen=True)
class FilmInfo:
    """What there is of a film, one of the two at least."""

    picture: PictureInfo | None
    sound: SoundInfo | None

    @property
    def modalities(self) -> tuple[str, ...]:
        """``video``, ``audio`` or both."""
        there = {"video": self.picture, "audio": self.sound}
        return tuple(name for name, part in there.items() if part is not None)

    @property
    def duration(self) -> float:
        """s, when the last picture goes, or where there is none, when the sound ends."""
        return max(part.end for part in (self.picture or self.sound,) if part is not None)

    @property
    def rounding(self) -> float:
        """s, by so much a container may round the film's length: half a picture, or a sample."""
        return 0.5 / self.picture.rate if self.picture is not None else 1 / AUDIO_RATE


def probe(path: Path) -> FilmInfo:
    """Read a film's packets, and decode its first picture and sound; either may be missing.

    Raises
    ------
    UserError
        If it is not a film, has neither picture nor sound, is in an unknown format, is cut short, or cannot
        be shown right.
    """
    if not path.is_file():
        raise UserError(f"{path}: is not a file")
    status = path.stat()
    return _probe(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _probe(path: Path, size: int, mtime_ns: int) -> FilmInfo:
    with open_film(path) as container:
        seen, heard = film_streams(path, container)
        picture, sound = read_packets(path, container, seen, heard)
        if picture is not None and not isinstance(picture.frame, av.VideoFrame):
            raise UserError(f"{path}: has no picture that can be decoded; download it again")
        if sound is not None and sound.frame is None:
            sound = None
        if picture is None and sound is None:
            raise UserError(f"{path}: has no sound that can be decoded; download it again")
        zero = picture.start if picture is not None else math.inf
        if sound is not None and sound.start < zero - SAME:
            zero = sound.start
        return FilmInfo(
            None if picture is None else _picture_info(path, container, picture, zero),
            None if sound is None else _sound_info(sound, zero),
        )


def _picture_info(
    path: Path, container: av.container.InputContainer, track: Track, zero: float
) -> PictureInfo:
    stream, first = track.stream, track.frame
    assert isinstance(stream, av.VideoStream)
    assert isinstance(first, av.VideoFrame)
    turn, rate = _turn(path, first), _rate(track)
    shape = _shape(first.width, first.height, stream.sample_aspect_ratio, swapped=turn[0])
    return PictureInfo(
        stream=stream.index,
        zero=zero,
        start=track.start - zero,
        end=_end(track, rate) - zero,
        rate=rate,
        width=shape[0],
        height=shape[1],
        coded=(first.width, first.height),
        turn=turn,
        times=_times(container, track, rate),
        colour=Colours.of(path, first),
    )


def _sound_info(track: Track, zero: float) -> SoundInfo | None:
    """None where no sample is shown."""
    start, end = track.start - zero, float(np.nanmax(track.ends)) - zero
    return SoundInfo(track.stream.index, zero, start, end) if end > start else None


def check_whole(path: Path, what: str, decoded: float, stated: float) -> None:
    """Raise a UserError if decoding ended before the packets do."""
    if decoded < stated - MISSING:
        raise UserError(
            f"{path}: cannot be decoded whole: its {what} goes to {stated:.1f} s, and decoding ends at "
            f"{decoded:.1f} s; {convert(path)}"
        )


def _times(container: av.container.InputContainer, track: Track, rate: float) -> Times:
    if container.format.name in REORDERED:
        return "sorted"
    # Where one packet of a program stream holds several small pictures, FFmpeg can only guess their times.
    if container.format.name == "mpeg" and len(np.unique(track.pts)) < len(track.pts):
        expected = np.ptp(track.pts[np.isfinite(track.pts)]) * rate
        if abs(len(track.pts) - 1 - expected) < 2:
            return "regular"
    return "stated"


def _rate(track: Track) -> float:
    """Pictures in a second: as the container says if its packets agree, else their mean."""
    length = np.ptp(track.pts[np.isfinite(track.pts)])
    mean = float((len(track.pts) - 1) / length) if length else 1.0
    for stated in (track.stream.average_rate, track.stream.base_rate, track.stream.guessed_rate):
        if stated and abs(float(stated) - mean) < RATE_OFF * mean:
            return float(stated)
    return mean


def _end(track: Track, rate: float) -> float:
    last = np.nanargmax(track.pts)
    return float(track.pts[last] + (track.durations[last] if track.durations[last] > 0 else 1 / rate))


def _shape(width: int, height: int, aspect: Fraction | None, *, swapped: bool) -> tuple[int, int]:
    """(x, y) as shown, from the shape of a pixel."""
    if aspect is not None and aspect > 0:
        width = max(1, round(width * aspect))
    return (height, width) if swapped else (width, height)


def _turn(path: Path, frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """How a picture is to be turned, from the display matrix that phones write."""
    parts: SideDataContainer = frame.side_data  # type: ignore[assignment]  # PyAV says that it is a TypedDict
    for part in parts:
        if part.type == Type.DISPLAYMATRIX:
            (a, b), (c, d) = np.frombuffer(bytes(part), np.int32).reshape(3, 3)[:2, :2] / 2**16
            swapped = abs(b) > abs(a)
            along, across = ((b, c), (a, d)) if swapped else ((d, a), (b, c))
            if max(map(abs, across)) > 0.01 * min(map(abs, along)):
                raise UserError(f"{path}: is to be turned, but not by a right angle; {convert(path)}")
            return bool(swapped), bool(along[0] < 0), bool(along[1] < 0)
    return False, False, False
