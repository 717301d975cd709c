"""A film's sound by time: 16 kHz, mono, decoded once from front to back, never held whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.codec.context import ThreadType

from simdata.common.film_clock import AUDIO_RATE
from simdata.films.container import SoundInfo, check_whole
from simdata.films.streams import attempt, open_film, shown

GAP = 0.02  # s: by so much the stream's own clock may leave the count of its samples, beyond its rounding


class Sound:
    """Sound in whole seconds; silence where there is none.

    All channels are mixed to one by FFmpeg's matrix, scaled so that full-scale channels do not exceed full
    scale, as `ffmpeg -ac 1` writes it to a file of whole numbers.

    Attributes
    ----------
    end : s, where the sound ends; by its packets at first, and for sure when it has been decoded
    """

    def __init__(self, path: Path, info: SoundInfo) -> None:
        self.end = info.end
        self._path, self._info = path, info
        self._held: list[tuple[int, np.ndarray]] = []  # number of the first sample, samples; ascending
        self._decoded = 0  # up to this sample
        self._pieces = self._decode()

    def span(self, start: int, stop: int) -> np.ndarray:
        """((stop - start) * 16000,) float32, full scale is 1; ``start`` must not be before an earlier one."""
        first, last = start * AUDIO_RATE, stop * AUDIO_RATE
        self._read_to(last)
        self._held = [piece for piece in self._held if piece[0] + len(piece[1]) > first]
        out = np.zeros(last - first, np.float32)
        for position, samples in self._held:
            known = samples[max(first - position, 0) : max(last - position, 0)]
            begin = max(position - first, 0)
            out[begin : begin + len(known)] = known
        return out

    def _read_to(self, last: int) -> None:
        while self._decoded < last and (piece := next(self._pieces, None)) is not None:
            position, samples = piece
            samples = samples[max(self._decoded - position, 0) :]
            position = max(position, self._decoded)
            self._held.append((position, samples))
            self._decoded = position + len(samples)

    def _decode(self) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the first sample, samples) of consecutive pieces."""
        path, info = self._path, self._info
        with open_film(path) as container:
            (stream,) = (s for s in container.streams.audio if s.index == info.stream)
            stream.codec_context.thread_type = ThreadType.AUTO
            mixer: _Mixer | None = None
            kind, end = None, info.start
            for frame in shown(path, container, stream):
                time = frame.time - info.zero if frame.time is not None else end
                this = frame.format.name, frame.layout.name, frame.sample_rate
                if mixer is None or this != kind or abs(time - end) > GAP:
                    if mixer is not None:
                        yield from mixer.drain()
                    mixer, kind, begin, count = _Mixer(path, time), this, time, 0
                count += frame.samples
                end = begin + count / frame.sample_rate
                yield from mixer.mix(frame)
            if mixer is not None:
                yield from mixer.drain()
        check_whole(path, "sound", end, info.end)
        self.end = end


class _Mixer:
    """Mixes frames without a gap to one channel at 16 kHz, the first one at ``time`` s."""

    def __init__(self, path: Path, time: float) -> None:
        self._path, self._place = path, round(time * AUDIO_RATE)
        self._resampler = av.AudioResampler(
            format="flt", layout="mono", rate=AUDIO_RATE, options={"rematrix_maxval": "1"}
        )

    def mix(self, frame: av.AudioFrame | None) -> Iterator[tuple[int, np.ndarray]]:
        if frame is not None:
            frame.pts = None  # the resampler would mend jumps in its own way
        for mixed in attempt(self._path, self._resample(frame)):
            samples = mixed.to_ndarray()[0].clip(-1, 1)  # decoders of lossy sound overshoot
            yield self._place, samples
            self._place += len(samples)

    def drain(self) -> Iterator[tuple[int, np.ndarray]]:
        return self.mix(None)

    def _resample(self, frame: av.AudioFrame | None) -> Iterator[av.AudioFrame]:
        yield from self._resampler.resample(frame)
