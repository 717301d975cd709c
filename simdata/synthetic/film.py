"""Writing pictures and sound with H.264 and AAC, as mp4 or mkv, and sound alone as wav."""

from __future__ import annotations

import os
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

CONTAINERS = {".mp4": "mp4", ".mkv": "matroska"}
FRAME_RATE = 24
WIDTH, HEIGHT = 192, 136  # the shape of the release's 1024 x 720
SOUND_RATE = 48_000
SOUND_FRAME = 1024  # samples in a frame of AAC
TIME_BASE = Fraction(1, 12_288)
# x264's assembler reads beyond pictures, so that what it makes depends on what is in memory there.
X264 = {"crf": "20", "preset": "veryfast", "x264-params": "asm=0"}


class Footage(NamedTuple):
    """What a film shows.

    Attributes
    ----------
    pictures : times (s) -> (times, HEIGHT, WIDTH, 3) uint8
    sound : (seconds * SOUND_RATE,) float32, full scale 1
    """

    pictures: Callable[[np.ndarray], np.ndarray]
    sound: np.ndarray


def write_film(path: Path, footage: Footage, seconds: int) -> None:
    """Write a film of ``seconds``; it appears under its name when it is whole."""
    temporary = path.with_name(f".{path.name}")
    with av.open(str(temporary), "w", format=CONTAINERS[path.suffix]) as film:
        picture = film.add_stream("libx264", rate=FRAME_RATE, options=X264)
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        picture.time_base = TIME_BASE
        picture.codec_context.thread_count = 1  # what several make depends on their number
        # The default coder takes longer than the pictures.
        sound = film.add_stream("aac", rate=SOUND_RATE, layout="stereo", options={"aac_coder": "fast"})
        for second in range(seconds):
            times = second + np.arange(FRAME_RATE) / FRAME_RATE
            for k, image in enumerate(footage.pictures(times)):
                shown = av.VideoFrame.from_ndarray(image, format="rgb24")
                ticks = (second * FRAME_RATE + k) * TIME_BASE.denominator // FRAME_RATE
                shown.pts, shown.time_base = ticks, TIME_BASE
                film.mux(picture.encode(shown))
        film.mux(picture.encode())
        for start in range(0, len(footage.sound), SOUND_FRAME):
            chunk = np.tile(footage.sound[start : start + SOUND_FRAME], (2, 1))
            heard = av.AudioFrame.from_ndarray(chunk, format="fltp", layout="stereo")
            heard.sample_rate, heard.pts, heard.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
            film.mux(sound.encode(heard))
        film.mux(sound.encode())
    os.replace(temporary, path)


def write_wav(path: Path, sound: np.ndarray) -> None:
    """Write sound alone, (samples,) of full scale 1 at ``SOUND_RATE``, as 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SOUND_RATE, 0, "NONE", ""))
        file.writeframes((np.clip(sound, -1, 1) * 32_767).astype("<i2").tobytes())
