"""What a film is: streams, times, sizes and colours, as a player takes them.

Time 0 is where a player begins: the earliest picture or sound that is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type

from simdata.common.errors import UserError
from simdata.films.colours import Colours
from simdata.films.packets import MISSING, Track, read_packets
from simdata.films.streams import convert, film_streams, open_film

RATE_OFF = 0.02  # of a rate: what rounding and the ends of a cut may do to it
SAME = 1e-3  # s: picture and sound that begin together but for rounding
REORDERED = {"avi"}  # formats that state when a packet is decoded, not when its picture is shown

Times = Literal["stated", "sorted", "regular"]


@dataclass(frozen=True)
class FilmInfo:
    """A film's streams and times.

    Attributes
    ----------
    duration : s, when the last picture goes
    width, height : of the picture as it is shown: upright, with square pixels
    zero : s, time 0 on the container's own clock
    picture_start, sound_start : s from time 0 to the first picture and sample
    sound_end : s, 0 without sound
    picture_stream, sound_stream : their numbers in the file; None without sound
    coded : (x, y) pixels of a picture as it is coded
    turn : whether a coded picture's axes are swapped, and then its rows and columns reversed, to be upright
    times : how a picture's time is known: "stated"; "sorted" where pictures carry each other's times; or
        "regular", from the first one on at the film's rate
    colour : how pictures become RGB
    """

    duration: float
    frame_rate: float
    width: int
    height: int
    zero: float
    picture_start: float
    sound_start: float
    sound_end: float
    picture_stream: int
    sound_stream: int | None
    coded: tuple[int, int]
    turn: tuple[bool, bool, bool]
    times: Times
    colour: Colours

    @property
    def has_sound(self) -> bool:
        return self.sound_end > self.sound_start


def probe(path: Path) -> FilmInfo:
    """Read a film's packets, and decode its first picture and sound.

    Raises
    ------
    UserError
        If it is not a film, has no picture, is in an unknown format, is cut short, or cannot be shown right.
    """
    if not path.is_file():
        raise UserError(f"{path}: is not a file")
    status = path.stat()
    return _probe(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _probe(path: Path, size: int, mtime_ns: int) -> FilmInfo:
    with open_film(path) as container:
        stream, heard = film_streams(path, container)
        picture, sound = read_packets(path, container, stream, heard)
        first = picture.frame
        if not isinstance(first, av.VideoFrame):
            raise UserError(f"{path}: has no picture that can be decoded; download it again")
        start = zero = picture.start
        if sound is not None and sound.frame is None:
            sound = None
        if sound is not None and sound.start < start - SAME:
            zero = sound.start
        width, height = first.width, first.height
        turn = _turn(path, first)
        shape = _shape(width, height, stream.sample_aspect_ratio, swapped=turn[0])
        rate = _rate(picture)
        return FilmInfo(
            duration=_end(picture, rate) - zero,
            frame_rate=rate,
            width=shape[0],
            height=shape[1],
            zero=zero,
            picture_start=start - zero,
            sound_start=sound.start - zero if sound is not None else 0.0,
            sound_end=float(np.nanmax(sound.ends)) - zero if sound is not None else 0.0,
            picture_stream=stream.index,
            sound_stream=sound.stream.index if sound is not None else None,
            coded=(width, height),
            turn=turn,
            times=_times(container, picture, rate),
            colour=Colours.of(path, first),
        )


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
