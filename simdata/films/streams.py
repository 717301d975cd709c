"""A film file opened with PyAV: which of its streams are the film, and what a player shows of them, in order.

Whatever FFmpeg raises on the way is a UserError with the file's name.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TypeVar, overload

import av
from av.stream import Disposition

from simdata.common.errors import UserError

# Without a header (program streams, FLV) a stream is known from its first packet on: wait for late ones.
PROBING = {"probesize": "50000000", "analyzeduration": "60000000"}
NOT_THE_FILM = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
IMAGES = {"mjpeg", "png", "bmp", "webp", "gif", "tiff"}  # codecs of covers that are not marked as such
CONVERT = "-c:v libx264 -crf 15 -c:a aac"

Item = TypeVar("Item")


@contextmanager
def open_film(path: Path) -> Iterator[av.container.InputContainer]:
    """Raises a UserError if it cannot be opened."""
    if not path.is_file():
        raise UserError(f"{path}: is not a file")
    try:
        # "file:" keeps FFmpeg from taking a name with a colon for a protocol.
        container = av.open(f"file:{path}", metadata_errors="replace", container_options=PROBING)
    except Exception as error:
        raise UserError(f"{path}: cannot be read as a film ({_reason(error)}); download it again") from None
    with container:
        yield container


def film_streams(
    path: Path, container: av.container.InputContainer
) -> tuple[av.VideoStream | None, av.AudioStream | None]:
    """The picture and sound that a player takes; None for what there is not.

    Of pictures the default one, then the largest, a cover never; of sounds the best by FFmpeg's rule (default
    ones first) among those of the picture's program.

    Raises
    ------
    UserError
        If there is neither, or no decoder for one of the two.
    """
    pictures = [s for s in container.streams.video if not s.disposition & NOT_THE_FILM]
    picture = max(pictures, key=_preference, default=None)
    sound = container.streams.best("audio", picture)
    assert sound is None or isinstance(sound, av.AudioStream)
    if picture is None and sound is None:
        raise UserError(f"{path}: has neither a picture stream nor a sound stream")
    for stream, what in ((picture, "picture"), (sound, "sound")):
        if stream is not None and stream.codec_context is None:
            raise UserError(f"{path}: its {what} is in a format that cannot be decoded here; {convert(path)}")
    return picture, sound


@overload
def shown(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.VideoFrame]: ...
@overload
def shown(
    path: Path, container: av.container.InputContainer, stream: av.AudioStream
) -> Iterator[av.AudioFrame]: ...
def shown(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream | av.AudioStream
) -> Iterator[av.VideoFrame | av.AudioFrame]:
    """Decode a stream from front to back, without what its container marks as not to be shown.

    As in players, a film that begins between key frames is seen from the first whole picture on; anything
    that cannot be decoded behind it is a UserError.
    """
    last = None
    for packet in packets(path, container, stream):
        try:
            frames = packet.decode()
        except Exception as error:
            if last is not None:
                raise _damaged(path, stream, last, _reason(error)) from None
            continue
        for frame in frames:
            if frame.is_corrupt:
                if last is not None:
                    raise _damaged(path, stream, frame, "data are missing")
                continue
            last = frame
            yield frame


def packets(
    path: Path, container: av.container.InputContainer, *streams: av.stream.Stream
) -> Iterator[av.Packet]:
    """Those of some streams, or all, in the file's order; an empty one ends each stream."""

    def there() -> Iterator[av.Packet]:
        try:
            yield from container.demux(*streams)
        except IndexError:
            # PyAV 18.1 wants to end streams, too, that it saw first on the way: all of ours came before.
            return

    return attempt(path, there())


def attempt(path: Path, items: Iterable[Item]) -> Iterator[Item]:
    """Items that FFmpeg gives, its errors made into a UserError."""
    iterator = iter(items)
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except Exception as error:
            raise undecodable(path, error) from None
        yield item


def in_seconds(ticks: int, time_base: Fraction | None) -> float:
    """Ticks of a clock in s; a stream that is open and what comes of it have one."""
    assert time_base is not None
    return float(ticks * time_base)


def undecodable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: cannot be decoded ({_reason(error)}); download it again, or {convert(path)}")


def convert(path: Path, before: str = "") -> str:
    """What to do about a film that is not right but that FFmpeg can read."""
    name, converted = shlex.quote(path.name), shlex.quote(f"{path.stem}-converted.mp4")
    return f"convert it: ffmpeg {before}-i {name} {CONVERT} {converted}"


def _preference(stream: av.VideoStream) -> tuple[bool, bool, int]:
    context = stream.codec_context
    if context is None:
        return False, bool(stream.disposition & Disposition.default), 0
    moves = context.name not in IMAGES
    return moves, bool(stream.disposition & Disposition.default), context.width * context.height


def _damaged(
    path: Path, stream: av.stream.Stream, frame: av.VideoFrame | av.AudioFrame, reason: str
) -> UserError:
    time = f" near {frame.time:.1f} s" if frame.time is not None else ""
    what = "picture" if stream.type == "video" else "sound"
    return UserError(
        f"{path}: its {what} is damaged{time} ({reason}): download it again, or let FFmpeg fill in what is "
        f"missing; {convert(path)}"
    )


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
