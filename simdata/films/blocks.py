"""A film from front to back, once: thumbnails, sound and every encoder's embeddings, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simdata.common.errors import UserError
from simdata.common.film_clock import AUDIO_RATE
from simdata.common.read_ahead import read_ahead
from simdata.encoders.base import AudioEncoder, Encoder, Grid, VideoEncoder
from simdata.films.container import FilmInfo, probe
from simdata.films.pictures import Pictures
from simdata.films.sound import Sound


@dataclass(frozen=True)
class Block:
    """Seconds [start, stop) of a film.

    Attributes
    ----------
    frame : (n, y, x, 3) uint8 RGB, the picture on screen when each second begins; black where there is none
    waveform : (n, 16000) int16 mono, silent where there is no sound
    embeddings : array name -> (n, features) float32, NaN where the window runs past the end
    """

    start: int
    stop: int
    frame: np.ndarray | None
    waveform: np.ndarray | None
    embeddings: dict[str, np.ndarray]

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Array name -> its rows, of all that was asked for."""
        seen = {"frame": self.frame, "waveform": self.waveform}
        return {name: rows for name, rows in seen.items() if rows is not None} | self.embeddings


@dataclass(frozen=True)
class _Work:
    """What one encoder is to do for a block.

    Windows begin at ``starts`` (s) of a span and become its ``rows`` (positions in the block).
    """

    encoder: Encoder
    span: np.ndarray
    starts: np.ndarray
    rows: np.ndarray

    def embeddings(self, path: Path, seconds: int) -> np.ndarray:
        table = np.full((seconds, self.encoder.features), np.nan, np.float32)
        if len(self.rows):
            try:
                table[self.rows] = self.encoder.rows(self.span, self.starts)
            except UserError as error:
                raise UserError(f"{path}: {error}") from error
        return table


def stimulus_blocks(
    path: Path,
    encoders: Sequence[Encoder],
    bounds: Iterable[tuple[int, int]],
    thumbnail: tuple[int, int] | None = None,
) -> Iterator[Block]:
    """Decode a film once; encoders work on a block while the next one is decoded.

    A film that goes on behind the last block is read only as far as the last window reaches. Memory does not
    depend on the film's length: three blocks are held at most.

    Parameters
    ----------
    bounds : (start, stop) of each wanted block in s, ascending, as `film_clock.block_bounds` gives them
    thumbnail : (y, x) of ``Block.frame``; None leaves out both thumbnails and waveform

    Raises
    ------
    UserError
        If the film cannot be decoded, is silent although an encoder needs sound, or an encoder fails.
    """
    info = probe(path)
    audio = [encoder.name for encoder in encoders if isinstance(encoder, AudioEncoder)]
    if audio and not info.has_sound:
        raise UserError(f"{path}: has no sound, which the encoders {', '.join(audio)} need")
    decoder = _Decoder(path, info, encoders, thumbnail)
    for start, stop, frame, waveform, work in read_ahead(decoder.block(*bound) for bound in bounds):
        embeddings = {part.encoder.array: part.embeddings(path, stop - start) for part in work}
        yield Block(start, stop, frame, waveform, embeddings)


class _Decoder:
    """Pictures and sound of a film, cut as the encoders want them."""

    def __init__(
        self, path: Path, info: FilmInfo, encoders: Sequence[Encoder], thumbnail: tuple[int, int] | None
    ) -> None:
        self._info, self._thumbnail = info, thumbnail
        self._video = [encoder for encoder in encoders if isinstance(encoder, VideoEncoder)]
        self._audio = [encoder for encoder in encoders if isinstance(encoder, AudioEncoder)]
        grids = [encoder.grid for encoder in self._video]
        if thumbnail:
            grids.append(Grid(1, thumbnail))
        self._pictures = Pictures(path, info, grids) if grids else None
        self._sound = Sound(path, info)

    def block(
        self, start: int, stop: int
    ) -> tuple[int, int, np.ndarray | None, np.ndarray | None, list[_Work]]:
        seen, frame = self._see(start, stop)
        heard, waveform = self._hear(start, stop)
        return start, stop, frame, waveform, seen + heard

    def _see(self, start: int, stop: int) -> tuple[list[_Work], np.ndarray | None]:
        if self._pictures is None:
            return [], None
        # Half a picture is a container's rounding of its length.
        end = self._info.duration + 0.5 / self._info.frame_rate
        starts = [_starts(encoder, start, stop, end) for encoder in self._video]
        stops = [
            found[-1] + encoder.grid.seconds(encoder.window) if len(found) else start
            for encoder, found in zip(self._video, starts, strict=True)
        ]
        spans = self._pictures.spans(start, [*stops, stop] if self._thumbnail else stops)
        frame = spans.pop() if self._thumbnail else None
        work = [
            _Work(encoder, span, found - start, found - start)
            for encoder, span, found in zip(self._video, spans, starts, strict=True)
        ]
        return work, frame

    def _hear(self, start: int, stop: int) -> tuple[list[_Work], np.ndarray | None]:
        if not self._audio and not self._thumbnail:
            return [], None
        before = max([encoder.context for encoder in self._audio], default=0)
        after = max([encoder.window - 1 + encoder.context for encoder in self._audio], default=0)
        first = max(start - before, 0)
        heard = self._sound.span(first, stop + after)
        # Asked for after decoding, since a stream may end a little before its header says.
        end = self._sound.end + 1 / AUDIO_RATE
        work = []
        for encoder in self._audio:
            found = _starts(encoder, start, stop, end)
            begin = max(start - encoder.context, 0)
            finish = min(stop + encoder.window - 1 + encoder.context, int(end))
            span = heard[(begin - first) * AUDIO_RATE : max(finish - first, 0) * AUDIO_RATE]
            work.append(_Work(encoder, span, found - begin, found - start))
        waveform = heard[(start - first) * AUDIO_RATE :][: (stop - start) * AUDIO_RATE]
        return work, _int16(waveform) if self._thumbnail else None


def _starts(encoder: Encoder, start: int, stop: int, end: float) -> np.ndarray:
    """Seconds in [start, stop) at which the encoder has a row: its window is wholly inside the film."""
    seconds = np.arange(start, stop)
    return seconds[(seconds % encoder.stride == 0) & (seconds + encoder.window <= end)]


def _int16(sound: np.ndarray) -> np.ndarray:
    scaled = np.rint(sound * 32_768)
    return np.clip(scaled, -32_768, 32_767).astype(np.int16).reshape(-1, AUDIO_RATE)
