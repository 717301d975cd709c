"""What a film's container says: streams, times, sizes.

Time 0 is where a player begins: the earliest start of any stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av

from simdata.errors import UserError

MISSING = 0.5  # s: a stream that ends so much before its header says is cut short


@dataclass(frozen=True)
class FilmInfo:
    """A film's header.

    Attributes
    ----------
    duration : s, when the last picture goes
    zero : s, time 0 on the container's own clock
    picture_start, sound_start : s from time 0 to the first picture and sample
    sound_end : s, 0 without sound
    """

    duration: float
    frame_rate: float
    width: int
    height: int
    zero: float
    picture_start: float
    sound_start: float
    sound_end: float

    @property
    def has_sound(self) -> bool:
        return self.sound_end > self.sound_start


def probe(path: Path) -> FilmInfo:
    """Read a film's header.

    Raises
    ------
    UserError
        If it is not a film, has no picture, is in an unknown format, or ends before its index does.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UserError(f"{path}: has no picture stream")
            picture = container.streams.video[0]
            sound = container.streams.audio[0] if container.streams.audio else None
            for stream, what in ((picture, "picture"), (sound, "sound")):
                if stream is not None:
                    _check_stream(path, stream, what)
            starts = [_start(stream) for stream in (picture, sound) if stream]
            zero = min(starts)
            return FilmInfo(
                duration=starts[0] - zero + _length(picture, container),
                frame_rate=float(picture.average_rate),
                width=picture.width,
                height=picture.height,
                zero=zero,
                picture_start=starts[0] - zero,
                sound_start=starts[-1] - zero if sound else 0.0,
                sound_end=starts[-1] - zero + _length(sound, container) if sound else 0.0,
            )
    except av.FFmpegError as error:
        raise UserError(f"{path}: cannot be read as a film ({error.strerror}); download it again") from None


def check_whole(path: Path, what: str, decoded: float, stated: float) -> None:
    """Decoders read a file that was cut behind its index as a shorter film."""
    if decoded < stated - MISSING:
        ends = f"its {what} end at {decoded:.1f} s, its header says {stated:.1f} s"
        raise UserError(f"{path}: cannot be decoded whole: {ends}; is it cut short?")


def _check_stream(path: Path, stream: av.stream.Stream, what: str) -> None:
    if stream.codec_context is None:
        raise UserError(
            f"{path}: its {what} is in a format that cannot be decoded here; convert it to H.264 and AAC"
        )
    # An mp4 whose index comes first opens even if what it points to is missing.
    entries = stream.index_entries
    if len(entries) and entries[-1].pos + entries[-1].size > path.stat().st_size:
        raise UserError(f"{path}: is cut short: its index points behind its end; download it again")


def _start(stream: av.stream.Stream) -> float:
    return float((stream.start_time or 0) * stream.time_base)


def _length(stream: av.stream.Stream, container: av.container.InputContainer) -> float:
    """Seconds; Matroska states only that of the whole film."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base
