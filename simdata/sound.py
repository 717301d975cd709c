"""A film's sound by time: 16 kHz, mono, decoded once from front to back, never held whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from simdata.encoders.base import AUDIO_RATE
from simdata.film_info import FilmInfo, check_whole

GAP = 0.02  # s: jumps in the stream's own clock, beyond its rounding, are silence or an overlap


class Sound:
    """Sound in whole seconds; silence where there is none.

    All channels are mixed to one (FFmpeg's default matrix, normalised).

    Attributes
    ----------
    end : s, where the sound ends; known from the header at first, and for sure when it has been decoded
    """

    def __init__(self, path: Path, info: FilmInfo) -> None:
        self.end = info.sound_end
        self._path, self._info = path, info
        self._held, self._first = np.zeros(0, np.float32), 0  # samples, and the number of the first one
        self._pieces = self._decode() if info.has_sound else iter(())

    def span(self, start: int, stop: int) -> np.ndarray:
        """((stop - start) * 16000,) float32, full scale is 1; ``start`` must not go back before an earlier
        one."""
        first, last = start * AUDIO_RATE, stop * AUDIO_RATE
        self._forget(first)
        self._read_to(last)
        out = np.zeros(last - first, np.float32)
        known = self._held[: last - self._first]
        begin = self._first - first
        out[begin : begin + len(known)] = known
        return out

    def _forget(self, first: int) -> None:
        gone = min(max(first - self._first, 0), len(self._held))
        self._held, self._first = self._held[gone:], self._first + gone
        if not len(self._held):
            self._first = max(self._first, first)

    def _read_to(self, last: int) -> None:
        pieces = [self._held]
        end = self._first + len(self._held)
        while end < last and (piece := next(self._pieces, None)) is not None:
            position, samples = piece
            silence = max(position - end, 0)
            samples = samples[max(end - position, 0) :]
            pieces += [np.zeros(silence, np.float32), samples]
            end += silence + len(samples)
        self._held = np.concatenate(pieces)

    def _decode(self) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the first sample, samples) of consecutive pieces."""
        with av.open(str(self._path)) as container:
            stream = container.streams.audio[0]
            stream.thread_type = "AUTO"
            zero = self._info.zero
            resampler, place, expected, decoded = None, 0, 0.0, self._info.sound_start
            for frame in container.decode(stream):
                time = float(frame.pts * frame.time_base) - zero if frame.pts is not None else expected
                if resampler is None or abs(time - expected) > GAP:
                    yield from self._drained(resampler, place)
                    resampler = av.AudioResampler(format="flt", layout="mono", rate=AUDIO_RATE)
                    place = round(time * AUDIO_RATE)
                expected = decoded = time + frame.samples / frame.sample_rate
                frame.pts = None  # the resampler would mend jumps in its own way
                for mixed in resampler.resample(frame):
                    samples = mixed.to_ndarray()[0]
                    yield place, samples
                    place += len(samples)
            yield from self._drained(resampler, place)
        check_whole(self._path, "sound", decoded, self._info.sound_end)
        self.end = min(decoded, self._info.sound_end)

    @staticmethod
    def _drained(resampler: av.AudioResampler | None, place: int) -> Iterator[tuple[int, np.ndarray]]:
        if resampler is None:
            return
        for mixed in resampler.resample(None):
            samples = mixed.to_ndarray()[0]
            yield place, samples
            place += len(samples)
