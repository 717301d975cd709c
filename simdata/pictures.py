"""A film's pictures on the grids of all that want some, each decoded once, at exact presentation times.

decord 3.4 reports picture times from the first picture, wherever the stream starts (checked on streams with
offsets, B-frames and variable frame rate); the stream's start time, read with PyAV, puts that right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from simdata.decoding import decord
from simdata.encoders.base import Grid
from simdata.errors import UserError
from simdata.film_info import FilmInfo, check_whole

TIME_ROUNDING = 6e-5  # s: decord rounds times to 0.1 ms
DECODED_AT_ONCE = 64  # pictures
SHORT_SIDE = 224  # pixels


class Pictures:
    """The film's pictures on several grids.

    A picture is decoded with its short side at 224 pixels, its own shape kept, and scaled down from there; a
    grid that needs more has a decoder of its own. So what an encoder sees does not depend on which others
    look on, and the usual 224-pixel ones see pictures that were scaled once.
    """

    def __init__(self, path: Path, info: FilmInfo, grids: Sequence[Grid]) -> None:
        self._path, self._grids, self._end = path, grids, info.duration
        sides = [max(SHORT_SIDE, _short_side(grid, info)) for grid in grids]
        self._scaled = [
            grid.size if grid.fit == "stretch" else _size(_short_side(grid, info), info) for grid in grids
        ]
        try:
            readers = {side: _open(path, *_size(side, info)) for side in set(sides)}
            times = readers[sides[0]].get_frame_timestamp(np.arange(len(readers[sides[0]])))
        except decord.DECORDError as error:
            raise self._undecodable(error) from None
        self._readers = [(readers[side], [i for i, s in enumerate(sides) if s == side]) for side in readers]
        times = times.astype(np.float64) + info.picture_start
        check_whole(path, "pictures", times[-1, 1], info.duration)
        self._shown = times[:, 0] - TIME_ROUNDING
        # What the last call gave, by grid: the number of its first tick, and pictures.
        self._held = [(0, np.empty((0, *grid.size, 3), np.uint8)) for grid in grids]

    def spans(self, start: int, stops: Sequence[int]) -> list[np.ndarray]:
        """(k, y, x, 3) uint8 for each grid: its seconds [start, stop). Overlaps with the last call are not
        decoded again."""
        spans, sources, places = [], [], []
        for grid, stop, held in zip(self._grids, stops, self._held, strict=True):
            ticks = np.arange(start * grid.rate, stop * grid.rate)
            span = np.zeros((len(ticks), *grid.size, 3), np.uint8)
            kept = _overlap(held, ticks)
            span[: len(kept)] = kept
            spans.append(span)
            places.append(span[len(kept) :])
            sources.append(self._on_screen(grid, ticks[len(kept) :]))
        try:
            for reader, users in self._readers:
                self._decode(reader, [(i, sources[i], places[i]) for i in users])
        except decord.DECORDError as error:
            raise self._undecodable(error) from None
        self._held = [(start * grid.rate, span) for grid, span in zip(self._grids, spans, strict=True)]
        return spans

    def _decode(self, reader: decord.VideoReader, users: list[tuple[int, np.ndarray, np.ndarray]]) -> None:
        """Decode for each (grid, numbers of the film's pictures, ascending, where to put them)."""
        needed = np.unique(np.concatenate([source for _, source, _ in users]))
        needed = needed[(needed >= 0) & (needed < len(self._shown))]
        for first in range(0, len(needed), DECODED_AT_ONCE):
            batch = needed[first : first + DECODED_AT_ONCE]
            decoded = reader.get_batch(batch).asnumpy()
            for i, source, out in users:
                here = slice(np.searchsorted(source, batch[0]), np.searchsorted(source, batch[-1], "right"))
                if here.start == here.stop:
                    continue
                distinct, inverse = np.unique(source[here], return_inverse=True)
                chosen = np.searchsorted(batch, distinct)
                if decoded.shape[1:3] != self._scaled[i]:
                    pictures = _resized(decoded[chosen], self._scaled[i])
                else:
                    pictures, inverse = decoded, chosen[inverse]
                # "clip" spares take() a buffer; there is nothing to clip.
                np.take(_middle(pictures, self._grids[i].size), inverse, axis=0, out=out[here], mode="clip")

    def _on_screen(self, grid: Grid, ticks: np.ndarray) -> np.ndarray:
        """Number of the picture on screen at each tick, the last one shown by then: -1 before the first, and
        one that there is not behind the end."""
        times = (ticks + grid.phase) / grid.rate
        shown = np.searchsorted(self._shown, times, side="right") - 1
        return np.where(times < self._end, shown, len(self._shown))

    def _undecodable(self, error: Exception) -> UserError:
        reason = str(error).strip().splitlines()[-1]
        return UserError(f"{self._path}: cannot be decoded ({reason}); is it cut short?")


def _open(path: Path, height: int, width: int) -> decord.VideoReader:
    """A reader that scales pictures to a size, or to a wider one: decord 3.4 fails at some widths, among them
    48, 96 and 144, where its rows of pixels are padded, but never at multiples of 64."""
    reader = decord.VideoReader(str(path), width=width, height=height)
    try:
        reader.get_batch([0])
    except decord.DECORDError:
        reader = decord.VideoReader(str(path), width=-(-width // 64) * 64, height=height)
    return reader


def _overlap(held: tuple[int, np.ndarray], ticks: np.ndarray) -> np.ndarray:
    """The held pictures that are the first ones of ``ticks``."""
    first, pictures = held
    skipped = ticks[0] - first if len(ticks) else len(pictures)
    return pictures[skipped : skipped + len(ticks)] if 0 <= skipped < len(pictures) else pictures[:0]


def _short_side(grid: Grid, info: FilmInfo) -> int:
    """Of the smallest whole picture of the film's shape that covers a grid's."""
    scale = max(grid.size[0] / info.height, grid.size[1] / info.width)
    return math.ceil(scale * min(info.height, info.width) - 1e-9)


def _size(short_side: int, info: FilmInfo) -> tuple[int, int]:
    """(y, x) of the film's shape."""
    scale = short_side / min(info.height, info.width)
    return round(info.height * scale), round(info.width * scale)


def _resized(pictures: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    frames = (av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in pictures)
    smaller = (frame.reformat(size[1], size[0], interpolation="AREA") for frame in frames)
    return np.stack([frame.to_ndarray(format="rgb24") for frame in smaller])


def _middle(pictures: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    top, left = ((have - want) // 2 for have, want in zip(pictures.shape[1:3], size, strict=True))
    return pictures[:, top : top + size[0], left : left + size[1]]
