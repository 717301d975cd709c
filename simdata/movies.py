"""Films: pictures at exact presentation times and sound, decoded once, for any number of encoders.

Time 0 is where a player begins: the earliest start of any stream. decord 3.4 reports picture times from the
first picture and sound from the first sample, wherever those streams start (checked on streams with offsets,
B-frames, variable frame rate and AAC priming); the streams' start times, read with PyAV, put that right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from simdata.decoding import decord
from simdata.encoders import AudioEncoder, Encoder, VideoEncoder
from simdata.errors import UserError

AUDIO_RATE = 16_000
TIME_ROUNDING = 6e-5  # s: decord rounds times to 0.1 ms
MISSING = 0.5  # s: a stream that ends so much before its header says is cut short
DECODED_AT_ONCE = 64  # pictures


@dataclass(frozen=True)
class FilmInfo:
    """What a film's container says.

    Attributes
    ----------
    duration : s, when the last picture goes
    picture_start, sound_start : s from time 0 to the first picture and sample
    sound_end : s, 0 without sound
    """

    duration: float
    frame_rate: float
    width: int
    height: int
    picture_start: float
    sound_start: float
    sound_end: float

    @property
    def has_sound(self) -> bool:
        return self.sound_end > 0


@dataclass(frozen=True)
class Block:
    """Seconds [start, stop) of a film.

    Attributes
    ----------
    frame : (n, y, x, 3) uint8 RGB, the picture on screen when each second begins; black where there is none
    waveform : (n, 16000) int16 mono, silent where there is no sound
    embeddings : encoder name -> (n, features) float32, NaN where the window runs past the end
    """

    start: int
    stop: int
    frame: np.ndarray
    waveform: np.ndarray
    embeddings: dict[str, np.ndarray]


def probe(path: Path) -> FilmInfo:
    """Read a film's header.

    Raises
    ------
    UserError
        If it is not a film, or has no picture.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UserError(f"{path}: has no picture stream")
            picture = container.streams.video[0]
            sound = container.streams.audio[0] if container.streams.audio else None
            starts = [_seconds(stream.start_time, stream) for stream in (picture, sound) if stream]
            zero = min(starts)
            return FilmInfo(
                duration=starts[0] - zero + _seconds(picture.duration, picture),
                frame_rate=float(picture.average_rate),
                width=picture.width,
                height=picture.height,
                picture_start=starts[0] - zero,
                sound_start=starts[-1] - zero if sound else 0.0,
                sound_end=starts[-1] - zero + _seconds(sound.duration, sound) if sound else 0.0,
            )
    except av.FFmpegError as error:
        raise UserError(f"{path}: cannot be read as a film ({error.strerror}); download it again") from None


def _seconds(ticks: int | None, stream: av.stream.Stream) -> float:
    return float((ticks or 0) * stream.time_base)


def stimulus_blocks(
    path: Path, encoders: Sequence[Encoder], *, seconds: int, thumbnail: tuple[int, int], block: int
) -> Iterator[Block]:
    """Decode a film once, block by block of seconds, for thumbnails, waveform and all encoders.

    Pictures are held for one block; sound is held whole (64 kB a second). A film that goes on after
    ``seconds`` is read only as far as the last window reaches.

    Parameters
    ----------
    seconds : rows to make
    thumbnail : (y, x)
    block : seconds in a block

    Raises
    ------
    UserError
        If the film cannot be decoded, or is silent although an encoder needs sound.
    """
    info = probe(path)
    video = [encoder for encoder in encoders if isinstance(encoder, VideoEncoder)]
    audio = [encoder for encoder in encoders if isinstance(encoder, AudioEncoder)]
    if audio and not info.has_sound:
        names = ", ".join(encoder.name for encoder in audio)
        raise UserError(f"{path}: has no sound, which the encoders {names} need")
    grids = [_Grid(1, *thumbnail, 1), *(_Grid(e.rate, *e.size, e.window) for e in video)]
    try:
        pictures = _Pictures(path, info, grids)
        sound = _Sound(path, info)
        for start in range(0, seconds, block):
            stop = min(start + block, seconds)
            thumbnails, *spans = pictures.advance(start, stop)
            embeddings = {
                encoder.name: _encode(encoder, span, start, stop, info.duration, 0.5 / info.frame_rate)
                for encoder, span in zip(video, spans, strict=True)
            }
            for encoder in audio:
                span = sound.span(start, stop + encoder.window - encoder.stride)
                embeddings[encoder.name] = _encode(encoder, span, start, stop, sound.end, 1 / AUDIO_RATE)
            yield Block(start, stop, thumbnails, sound.int16(start, stop), embeddings)
    except decord.DECORDError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"{path}: cannot be decoded ({reason}); is it cut short?") from None


def _encode(
    encoder: Encoder, span: np.ndarray, start: int, stop: int, end: float, tolerance: float
) -> np.ndarray:
    """Rows [start, stop); those whose window ends behind the film are NaN, never padded."""
    rows = np.full((stop - start, encoder.features), np.nan, np.float32)
    whole = int(np.clip(np.floor(end + tolerance) - encoder.window + 1 - start, 0, stop - start))
    if whole:
        rows[:whole] = encoder.encode(span, whole)
    return rows


@dataclass(frozen=True)
class _Grid:
    """Pictures wanted at times k / rate, of a size, in windows of some seconds."""

    rate: int
    height: int
    width: int
    window: int


class _Pictures:
    """The film's pictures on several grids, each source picture decoded once."""

    def __init__(self, path: Path, info: FilmInfo, grids: Sequence[_Grid]) -> None:
        self._grids = grids
        self._size = max(grid.height for grid in grids), max(grid.width for grid in grids)
        self._reader = decord.VideoReader(str(path), width=self._size[1], height=self._size[0])
        times = self._reader.get_frame_timestamp(np.arange(len(self._reader))).astype(np.float64)
        times += info.picture_start
        _check_whole(path, "pictures", times[-1, 1], info.duration)
        self._shown = times[:, 0] - TIME_ROUNDING
        self._end = info.duration
        self._held = [np.empty((0, grid.height, grid.width, 3), np.uint8) for grid in grids]

    def advance(self, start: int, stop: int) -> list[np.ndarray]:
        """(k, y, x, 3) uint8 for each grid: seconds [start, stop + window - 1), consecutive calls only."""
        ticks = [
            np.arange(start * grid.rate + len(held), (stop + grid.window - 1) * grid.rate)
            for grid, held in zip(self._grids, self._held, strict=True)
        ]
        pictures = self._on_grids(ticks)
        spans = []
        for i, (grid, new) in enumerate(zip(self._grids, pictures, strict=True)):
            spans.append(np.concatenate([self._held[i], new]))
            self._held[i] = spans[i][(stop - start) * grid.rate :].copy()
        return spans

    def _on_grids(self, ticks: list[np.ndarray]) -> list[np.ndarray]:
        pictures = [
            np.zeros((len(tick), grid.height, grid.width, 3), np.uint8)
            for grid, tick in zip(self._grids, ticks, strict=True)
        ]
        times = [tick / grid.rate for grid, tick in zip(self._grids, ticks, strict=True)]
        # The picture on screen at a time is the last one that was shown by then; before the first, black.
        sources = [
            np.where(time < self._end, np.searchsorted(self._shown, time, side="right") - 1, -1)
            for time in times
        ]
        needed = np.unique(np.concatenate(sources))
        needed = needed[needed >= 0]
        for first in range(0, len(needed), DECODED_AT_ONCE):
            batch = needed[first : first + DECODED_AT_ONCE]
            decoded = self._reader.get_batch(batch).asnumpy()
            for grid, source, out in zip(self._grids, sources, pictures, strict=True):
                places = np.flatnonzero((source >= batch[0]) & (source <= batch[-1]))
                if len(places):
                    wanted, inverse = np.unique(source[places], return_inverse=True)
                    chosen = decoded[np.searchsorted(batch, wanted)]
                    out[places] = _resized(chosen, grid.height, grid.width)[inverse]
        return pictures


def _check_whole(path: Path, what: str, decoded: float, stated: float) -> None:
    """decord reads a file that was cut behind its index as a shorter film."""
    if decoded < stated - MISSING:
        ends = f"its {what} end at {decoded:.1f} s, its header says {stated:.1f} s"
        raise UserError(f"{path}: cannot be decoded whole: {ends}; is it cut short?")


def _resized(pictures: np.ndarray, height: int, width: int) -> np.ndarray:
    if pictures.shape[1:3] == (height, width):
        return pictures
    frames = (av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in pictures)
    smaller = (frame.reformat(width, height, interpolation="AREA") for frame in frames)
    return np.stack([frame.to_ndarray(format="rgb24") for frame in smaller])


class _Sound:
    """The film's sound at 16 kHz, mono, by time; silence where there is none."""

    def __init__(self, path: Path, info: FilmInfo) -> None:
        self._samples = np.zeros(0, np.float32)
        if info.has_sound:
            reader = decord.AudioReader(str(path), sample_rate=AUDIO_RATE, mono=True)
            self._samples = reader[:].asnumpy()[0]
        self._offset = round(info.sound_start * AUDIO_RATE)
        decoded = (self._offset + len(self._samples)) / AUDIO_RATE
        _check_whole(path, "sound", decoded, info.sound_end)
        self.end = min(info.sound_end, decoded)

    def span(self, start: int, stop: int) -> np.ndarray:
        """((stop - start) * 16000,) float32, full scale is 1."""
        first, last = start * AUDIO_RATE - self._offset, stop * AUDIO_RATE - self._offset
        inside = self._samples[max(first, 0) : max(last, 0)]
        out = np.zeros(last - first, np.float32)
        begin = max(-first, 0)
        out[begin : begin + len(inside)] = inside
        return out

    def int16(self, start: int, stop: int) -> np.ndarray:
        scaled = np.rint(self.span(start, stop) * 32_768)
        return np.clip(scaled, -32_768, 32_767).astype(np.int16).reshape(stop - start, AUDIO_RATE)
