"""Real mp4 films for tests: H.264 with the frame's number burned in, AAC with a tone every second."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = 160, 96  # x, y
BITS = 10  # of the frame's number, a bar each
TONE = 0.1  # s, at the beginning of each second
CLOCK = 90_000


def write_film(
    path: Path,
    *,
    seconds: float = 6,
    rate: Fraction | int = 24,
    picture_start: float = 0.0,
    sound_start: float = 0.0,
    uneven: bool = False,
    sound_rate: int | None = 48_000,
    layout: str = "stereo",
    codec: str = "libx264",
    b_frames: int = 2,
) -> Path:
    """Write a film; ``uneven`` shows every odd picture early, ``sound_rate`` None leaves the sound out."""
    with av.open(str(path), "w") as film:
        options = {"bf": str(b_frames), "g": "24"} if codec == "libx264" else {}
        picture = film.add_stream(codec, rate=Fraction(rate), options=options)
        picture.width, picture.height = SIZE
        picture.pix_fmt = "yuv420p"
        if codec == "libx264":
            picture.codec_context.time_base = Fraction(1, CLOCK)
        sound = film.add_stream("aac", rate=sound_rate, layout=layout) if sound_rate else None
        for number in range(int(seconds * rate)):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            time = picture_start + (number - (0.6 if uneven and number % 2 else 0)) / rate
            base = Fraction(1, CLOCK) if codec == "libx264" else 1 / Fraction(rate)
            frame.pts, frame.time_base = round(time / base), base
            film.mux(picture.encode(frame))
        film.mux(picture.encode())
        if sound:
            samples = tones(seconds, sound_rate)
            channels = len(av.AudioLayout(layout).channels)
            for start in range(0, len(samples), 1024):
                chunk = np.tile(samples[start : start + 1024], (channels, 1))
                frame = av.AudioFrame.from_ndarray(chunk, format="fltp", layout=layout)
                frame.sample_rate, frame.time_base = sound_rate, Fraction(1, sound_rate)
                frame.pts = start + round(sound_start * sound_rate)
                film.mux(sound.encode(frame))
            film.mux(sound.encode())
    return path


def numbered(number: int) -> np.ndarray:
    """A picture that says its number in ten bars, white for 1."""
    picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    width = SIZE[0] // BITS
    for bit in range(BITS):
        picture[:, bit * width : (bit + 1) * width] = 235 * (number >> bit & 1)
    return picture


def number_of(picture: np.ndarray) -> int:
    """Read the number of a picture back, whatever its size."""
    height, width = picture.shape[:2]
    centres = ((np.arange(BITS) + 0.5) * width / BITS).astype(int)
    return sum(int(picture[height // 2, x, 0] > 120) << bit for bit, x in enumerate(centres))


def tones(seconds: float, rate: int) -> np.ndarray:
    """In second k, 0.1 s of 300 + 100 k Hz."""
    time = np.arange(int(seconds * rate)) / rate
    tone = 0.5 * np.sin(2 * np.pi * (300 + 100 * np.floor(time)) * time)
    return np.where(time % 1 < TONE, tone, 0).astype(np.float32)
