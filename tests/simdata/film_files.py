"""Real films for tests: the frame's number is burned in, and there is a tone every second."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

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
    sound_codec: str = "aac",
    b_frames: int = 2,
    group: int = 24,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
) -> Path:
    """Write a film; ``uneven`` shows every odd picture early, ``sound_rate`` None leaves the sound out.

    Key pictures are ``group`` pictures apart at most. ``options`` go to the picture's encoder, and
    ``container`` to the muxer.
    """
    with av.open(str(path), "w", container_options=container) as film:
        options = {"bf": str(b_frames), "g": str(group)} | (options or {})
        picture = film.add_stream(codec, rate=Fraction(rate), options=options)
        picture.width, picture.height = SIZE
        picture.pix_fmt = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
        if codec == "libx264":
            picture.codec_context.time_base = Fraction(1, CLOCK)
        sound = film.add_stream(sound_codec, rate=sound_rate, layout=layout) if sound_rate else None
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


def cut(source: Path, target: Path, start: float, seconds: float) -> Path:
    """Copy some seconds of a film without decoding, as `ffmpeg -ss START -i SOURCE -t SECONDS -c copy` does:
    from the key picture before ``start`` on, which in mp4 and mov an edit list hides."""
    with av.open(str(source)) as film, av.open(str(target), "w") as copy:
        streams = {stream.index: copy.add_stream_from_template(stream) for stream in film.streams}
        film.seek(int(start * 1e6))
        zero = film.start_time / 1e6 + start
        for packet in film.demux():
            if packet.dts is None or packet.dts * packet.time_base >= zero + seconds:
                continue
            # Sound needs no more than a packet before the cut.
            if packet.stream.type == "video" or packet.pts * packet.time_base > zero - 0.03:
                shift = round(zero / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = streams[packet.stream.index]
                copy.mux(packet)
    return target


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


# File ending -> codec and sample format.
SOUNDS = {
    ".wav": ("pcm_s16le", "s16"),
    ".flac": ("flac", "s16"),
    ".mp3": ("libmp3lame", "fltp"),
    ".m4a": ("aac", "fltp"),
    ".ogg": ("libopus", "flt"),
    ".mka": ("flac", "s16"),
}


def write_sound(path: Path, seconds: float = 6, cover: bool = False) -> Path:
    """Write `tones` and no picture; with a cover beside it, as shops and podcasts put one."""
    codec, form = SOUNDS[path.suffix]
    rate = 48_000 if codec == "libopus" else 44_100
    container = "mp4" if path.suffix == ".m4a" else None  # PyAV puts no cover into its own choice, ipod
    with av.open(str(path), "w", container) as file:
        sound = file.add_stream(codec, rate=rate, layout="mono")
        if cover:
            picture = file.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = *SIZE, "yuvj420p"
            picture.disposition = Disposition.attached_pic
            for packet in picture.encode(av.VideoFrame.from_ndarray(numbered(7), format="rgb24")):
                file.mux(packet)
        frame = av.AudioFrame.from_ndarray(tones(seconds, rate)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(form, "mono", rate, frame_size=sound.codec_context.frame_size or 1024)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(sound.encode(piece))
        file.mux(sound.encode())
    return path
