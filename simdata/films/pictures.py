"""A film's pictures on the grids of all that want some, decoded once, from front to back, at exact times.

Decoding in sequence is the one way that gives every codec's pictures right: pictures that were sought differ
from them with open groups of pictures, and lists of times from what is decoded with edit lists.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import av
import numpy as np
from av.codec.context import ThreadType
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from simdata.common.errors import UserError
from simdata.encoders.base import Grid
from simdata.films.colours import Colours
from simdata.films.container import SAME, PictureInfo, check_whole
from simdata.films.streams import convert, in_seconds, open_film, shown, undecodable

ROUNDING = 5e-4  # s: a container's clock is as coarse as this; half its step, if that is finer, is forgiven
LOOKAHEAD = 16  # pictures that may carry each other's times
# Without full chroma FFmpeg halves the resolution of colours: 4 levels off on average, with it 0.3.
CAREFUL = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
SCALING = {
    "bilinear": Interpolation.BILINEAR | CAREFUL,
    "bicubic": Interpolation.BICUBIC | CAREFUL,
}


class Pictures:
    """The film's pictures on several grids.

    A grid's picture is scaled once, straight from the decoded one as a player shows it: upright, with square
    pixels, in full-range RGB. So what an encoder sees does not depend on which others look on.
    """

    def __init__(self, path: Path, info: PictureInfo, grids: Sequence[Grid]) -> None:
        self._screens = [
            _WindowsScreen(path, grid, grid.choose, info) if grid.choose else _Screen(grid, info)
            for grid in grids
        ]
        self._coming = _pictures(path, info)
        self._now: _Picture | None = None
        self._next, self._change = next(self._coming)

    def spans(self, start: int, stops: Sequence[int]) -> list[np.ndarray]:
        """(k, y, x, 3) uint8 for each grid: its seconds [start, stop); black where there is no picture.

        ``start`` must not go back before an earlier one.
        """
        for screen in self._screens:
            screen.forget(start)
        self._show(max(s.grid.needs(start, stop) for s, stop in zip(self._screens, stops, strict=True)))
        return [screen.span(start, stop) for screen, stop in zip(self._screens, stops, strict=True)]

    def _show(self, until: int) -> None:
        """Put on all screens what is to be seen before ``until`` s."""
        while True:
            for screen in self._screens:
                screen.show(self._now, min(self._change, until))
            if self._change >= until:
                return
            self._now = self._next
            self._next, self._change = next(self._coming, (None, math.inf))


class _Screen:
    """Pictures of one grid, at consecutive ticks from number ``_first`` on."""

    def __init__(self, grid: Grid, info: PictureInfo) -> None:
        self.grid, self._first = grid, 0
        self._pictures: deque[np.ndarray | None] = deque()
        self._size = grid.size if grid.fit == "stretch" else _covering(grid.size, info)
        self._reformatter = VideoReformatter()

    def forget(self, start: int) -> None:
        """Drop what is before ``start`` s."""
        first = start * self.grid.rate
        while self._pictures and self._first < first:
            self._pictures.popleft()
            self._first += 1
        self._first = max(self._first, first)

    def show(self, picture: _Picture | None, until: float) -> None:
        """A picture, or none, stays on screen until a time in s."""
        stop = math.ceil(until * self.grid.rate - self.grid.phase - 1e-9)
        missing = stop - self._first - len(self._pictures)
        if missing > 0:
            self._pictures.extend([self._seen(picture)] * missing)

    def span(self, start: int, stop: int) -> np.ndarray:
        span = np.zeros(((stop - start) * self.grid.rate, *self.grid.size, 3), np.uint8)
        for place, picture in zip(span, self._pictures, strict=False):
            if picture is not None:
                place[:] = picture
        return span

    def _seen(self, picture: _Picture | None) -> np.ndarray | None:
        if picture is None:
            return None
        if self.grid.resize is not None:
            (seen,) = self.grid.resize(picture.rgb[None])
            return seen
        scaled = picture.scaled(self._size, self._reformatter, SCALING[self.grid.interpolation])
        return _middle(scaled, self.grid.size)


class _WindowsScreen(_Screen):
    """Pictures of a grid that chooses among the film's own: all those since ``_first`` s, by their times."""

    def __init__(
        self, path: Path, grid: Grid, choose: Callable[[int], np.ndarray], info: PictureInfo
    ) -> None:
        super().__init__(grid, info)
        self._path, self._choose = path, choose
        self._last: _Picture | None = None
        self._times: deque[float] = deque()

    def forget(self, start: int) -> None:
        self._first = start
        while self._times and self._times[0] < start:
            self._times.popleft()
            self._pictures.popleft()

    def show(self, picture: _Picture | None, until: float) -> None:
        if picture is None or picture is self._last:
            return
        self._last, time = picture, picture.time + SAME
        if time >= self._first:
            self._times.append(time)
            self._pictures.append(self._seen(picture))

    def span(self, start: int, stop: int) -> np.ndarray:
        span = np.zeros((stop - start, self.grid.rate, *self.grid.size, 3), np.uint8)
        times, pictures = list(self._times), list(self._pictures)
        for second, places in zip(range(start, stop), span, strict=True):
            first, behind = (bisect_left(times, time) for time in (second, second + self.grid.window))
            if behind == first:
                continue
            try:
                chosen = self._choose(behind - first)
            except UserError as error:
                raise UserError(f"{self._path}: the window at {second} s: {error}") from None
            for place, number in zip(places, chosen, strict=True):
                place[:] = pictures[first + number]
        return span.reshape(-1, *span.shape[2:])


class _Picture:
    """A decoded picture as a player shows it, from ``time`` (s) on."""

    def __init__(
        self, path: Path, info: PictureInfo, frame: av.VideoFrame, whole: VideoReformatter, time: float
    ) -> None:
        self._path, self._info, self._frame, self._whole = path, info, frame, whole
        self.time = time

    @cached_property
    def rgb(self) -> np.ndarray:
        """(y, x, 3) uint8 of the film's own size; made once for all that want it.

        Where nothing is to be scaled, it is what FFmpeg, PyAV, OpenCV and decord give by themselves: what
        models were trained on.
        """
        size, flags = (self._info.height, self._info.width), SCALING["bicubic"]
        if sorted(size) == sorted(self._info.coded):
            flags = Interpolation.BICUBIC
        return self.scaled(size, self._whole, flags)

    def scaled(self, size: tuple[int, int], reformatter: VideoReformatter, flags: int) -> np.ndarray:
        """(*size, 3) uint8."""
        swapped, rows_reversed, columns_reversed = self._info.turn
        height, width = size[::-1] if swapped else size
        colours = Colours.of(self._path, self._frame)  # they may change on the way
        try:
            picture = reformatter.reformat(
                self._frame,
                width,
                height,
                "rgb24",
                src_colorspace=colours.matrix,
                dst_colorspace=colours.matrix,
                interpolation=flags,
                src_color_range=colours.range,
                dst_color_range=ColorRange.JPEG if colours.range else None,
                threads=1,
            ).to_ndarray()
        except Exception as error:
            raise undecodable(self._path, error) from None
        if swapped:
            picture = picture.transpose(1, 0, 2)
        return picture[:: -1 if rows_reversed else 1, :: -1 if columns_reversed else 1]


def _pictures(path: Path, info: PictureInfo) -> Iterator[tuple[_Picture | None, float]]:
    """Pictures as they are shown, each with the time in s from which it is on screen; in the end none."""
    last, whole = -math.inf, VideoReformatter()
    with open_film(path) as container:
        (stream,) = (s for s in container.streams.video if s.index == info.stream)
        stream.codec_context.thread_type = ThreadType.AUTO
        forgiven = min(ROUNDING, in_seconds(1, stream.time_base) / 2)
        aspect = None
        for frame, time in _timed(info, shown(path, container, stream)):
            time -= info.zero
            _check_picture(path, info, frame, time, last)
            aspect = aspect or stream.codec_context.sample_aspect_ratio
            if aspect != stream.codec_context.sample_aspect_ratio:
                raise UserError(f"{path}: its pictures change their shape near {time:.1f} s; {convert(path)}")
            last = time
            yield _Picture(path, info, frame, whole, time), time - forgiven
    check_whole(path, "picture", last + 1 / info.rate, info.end)
    yield None, info.end


def _timed(info: PictureInfo, frames: Iterator[av.VideoFrame]) -> Iterator[tuple[av.VideoFrame, float]]:
    """Frames with the times at which they are shown, on the container's clock."""
    if info.times == "regular":
        for number, frame in enumerate(frames):
            yield frame, info.zero + info.start + number / info.rate
    elif info.times == "sorted":
        waiting: deque[av.VideoFrame] = deque()
        times: list[float] = []
        for frame in frames:
            waiting.append(frame)
            heapq.heappush(times, _time(frame))
            if len(waiting) > LOOKAHEAD:
                yield waiting.popleft(), heapq.heappop(times)
        yield from zip(waiting, sorted(times), strict=True)
    else:
        for frame in frames:
            yield frame, _time(frame)


def _time(frame: av.VideoFrame) -> float:
    ticks = frame.pts if frame.pts is not None else frame.dts
    return math.nan if ticks is None else in_seconds(ticks, frame.time_base)


def _check_picture(path: Path, info: PictureInfo, frame: av.VideoFrame, time: float, last: float) -> None:
    if not time >= last:
        raise UserError(
            f"{path}: has pictures out of order at {max(last, 0):.1f} s: their times are not known; "
            f"{convert(path, '-fflags +genpts ')}"
        )
    if (frame.width, frame.height) != info.coded:
        raise UserError(
            f"{path}: its pictures change from {info.coded[0]} x {info.coded[1]} to {frame.width} x "
            f"{frame.height} pixels at {time:.1f} s; {convert(path)}"
        )


def _covering(size: tuple[int, int], info: PictureInfo) -> tuple[int, int]:
    """(y, x) of the smallest whole picture of the film's shape that covers ``size``."""
    scale = max(size[0] / info.height, size[1] / info.width)
    short = min(info.height, info.width)
    scale = math.ceil(scale * short - 1e-9) / short
    return round(info.height * scale), round(info.width * scale)


def _middle(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    top, left = ((have - want) // 2 for have, want in zip(picture.shape[:2], size, strict=True))
    return picture[top : top + size[0], left : left + size[1]]
