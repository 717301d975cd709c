"""A film from front to back, once: thumbnails, sound and every encoder's embeddings, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simdata.common.errors import UserError
from simdata.common.film_clock import AUDIO_RATE
from simdata.common.read_ahead import read_ahead
from simdata.encoders.base import AudioEncoder, Encoder, Grid, TextEncoder, VideoEncoder
from simdata.films.container import FilmInfo, probe
from simdata.films.pictures import Pictures
from simdata.films.sound import Sound

IN_WORDS = {"video": "pictures", "audio": "sound", "text": "transcribed words"}  # what encoders take


@dataclass(frozen=True)
class Block:
    """Seconds [start, stop) of a film.

    Attributes
    ----------
    frame : (n, y, x, 3) uint8 RGB, the picture on screen when each second begins, black where there is none;
        None if it is not asked for, or the film has no pictures
    waveform : (n, 16000) int16 mono, silent where there is no sound; None as ``frame``
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
    *,
    waveform: bool = False,
    words: np.ndarray | None = None,
) -> Iterator[Block]:
    """Decode a film once; encoders work on a block while the next one is decoded.

    A film that goes on behind the last block is read only as far as the last window reaches. Memory does not
    depend on the film's length: three blocks are held at most.

    Parameters
    ----------
    bounds : (start, stop) of each wanted block in s, ascending, as `film_clock.block_bounds` gives them
    thumbnail : (y, x) of ``Block.frame``; None leaves it out
    waveform : whether to give ``Block.waveform``
    words : (n,) WORD, what is said in the film; None if that is not known

    Raises
    ------
    UserError
        If the film cannot be decoded, lacks what an encoder takes, or an encoder fails.
    """
    info = probe(path)
    _check_has_all(path, info, encoders, words)
    decoder = _Decoder(path, info, encoders, thumbnail, waveform, words)
    for start, stop, frame, heard, work in read_ahead(decoder.block(*bound) for bound in bounds):
        embeddings = {part.encoder.array: part.embeddings(path, stop - start) for part in work}
        yield Block(start, stop, frame, heard, embeddings)


def _check_has_all(path: Path, info: FilmInfo, encoders: Sequence[Encoder], words: np.ndarray | None) -> None:
    there = (*info.modalities, *(() if words is None else ("text",)))
    lacking = [encoder for encoder in encoders if encoder.takes not in there]
    for takes in dict.fromkeys(encoder.takes for encoder in lacking):
        names = ", ".join(encoder.name for encoder in lacking if encoder.takes == takes)
        raise UserError(f"{path}: has no {IN_WORDS[takes]}, which the encoders {names} need")


class _Decoder:
    """Pictures and sound of a film, cut as the encoders want them."""

    def __init__(
        self,
        path: Path,
        info: FilmInfo,
        encoders: Sequence[Encoder],
        thumbnail: tuple[int, int] | None,
        waveform: bool,
        words: np.ndarray | None,
    ) -> None:
        self._info, self._thumbnail, self._waveform = info, thumbnail, waveform
        self._words = words
        self._video = [encoder for encoder in encoders if isinstance(encoder, VideoEncoder)]
        self._audio = [encoder for encoder in encoders if isinstance(encoder, AudioEncoder)]
        self._text = [encoder for encoder in encoders if isinstance(encoder, TextEncoder)]
        grids = [encoder.grid for encoder in self._video]
        if thumbnail:
            grids.append(Grid(1, thumbnail))
        wanted = bool(self._audio) or waveform
        self._pictures = Pictures(path, info.picture, grids) if grids and info.picture else None
        self._sound = Sound(path, info.sound) if wanted and info.sound else None

    def block(
        self, start: int, stop: int
    ) -> tuple[int, int, np.ndarray | None, np.ndarray | None, list[_Work]]:
        seen, frame = self._see(start, stop)
        heard, waveform = self._hear(start, stop)
        return start, stop, frame, waveform, seen + heard + self._read(start, stop)

    def _see(self, start: int, stop: int) -> tuple[list[_Work], np.ndarray | None]:
        if self._pictures is None:
            return [], None
        end = self._info.duration + self._info.rounding
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
        if self._sound is None:
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
        return work, _int16(waveform) if self._waveform else None

    def _read(self, start: int, stop: int) -> list[_Work]:
        if self._words is None:
            return []
        end = self._info.duration + self._info.rounding
        starts = [_starts(encoder, start, stop, end) for encoder in self._text]
        return [
            _Work(encoder, self._words, found, found - start)
            for encoder, found in zip(self._text, starts, strict=True)
        ]


def _starts(encoder: Encoder, start: int, stop: int, end: float) -> np.ndarray:
    """Seconds in [start, stop) at which the encoder has a row: its window is wholly inside the film."""
    seconds = np.arange(start, stop)
    return seconds[(seconds % encoder.stride == 0) & (seconds + encoder.window <= end)]


def _int16(sound: np.ndarray) -> np.ndarray:
    scaled = np.rint(sound * 32_768)
    return np.clip(scaled, -32_768, 32_767).astype(np.int16).reshape(-1, AUDIO_RATE)
