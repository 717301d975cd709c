"""Rendering a movie's scenes to an mp4 with H.264 pictures and AAC sound."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from simdata.synthetic.latents import Scene, latents_at

FRAME_RATE = 24
WIDTH, HEIGHT = 192, 136  # the shape of the release's 1024 x 720
SOUND_RATE = 48_000
SOUND_FRAME = 1024  # samples in a frame of AAC
PATCH = 0.28  # s.d. of the grating's envelope, as a share of the picture
GREY = 0.08  # of full white, at rest
TREMBLING = 4.0  # Hz
HEADROOM = 0.4  # root mean square, of full scale, of the loudest sound
TIME_BASE = Fraction(1, 12_288)


def write_film(path: Path, movie_scenes: list[Scene], seconds: int) -> None:
    """Write a film of ``seconds``; it appears under its name when it is whole."""
    temporary = path.with_name(f".{path.name}")
    with av.open(str(temporary), "w", format="mp4") as film:
        picture = film.add_stream("libx264", rate=FRAME_RATE, options={"crf": "20", "preset": "veryfast"})
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        picture.time_base = TIME_BASE
        # The default coder takes longer than the pictures.
        sound = film.add_stream("aac", rate=SOUND_RATE, layout="stereo", options={"aac_coder": "fast"})
        sounds = _sound(movie_scenes, seconds)
        for second in range(seconds):
            times = second + np.arange(FRAME_RATE) / FRAME_RATE
            for k, image in enumerate(_pictures(movie_scenes, times)):
                shown = av.VideoFrame.from_ndarray(image, format="rgb24")
                ticks = (second * FRAME_RATE + k) * TIME_BASE.denominator // FRAME_RATE
                shown.pts, shown.time_base = ticks, TIME_BASE
                film.mux(picture.encode(shown))
        film.mux(picture.encode())
        for start in range(0, len(sounds), SOUND_FRAME):
            chunk = np.tile(sounds[start : start + SOUND_FRAME], (2, 1))
            heard = av.AudioFrame.from_ndarray(chunk, format="fltp", layout="stereo")
            heard.sample_rate, heard.pts, heard.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
            film.mux(sound.encode(heard))
        film.mux(sound.encode())
    os.replace(temporary, path)


def _pictures(movie_scenes: list[Scene], times: np.ndarray) -> np.ndarray:
    """(times, y, x, 3) uint8: a drifting Gabor, or a dark picture with a cross at rest."""
    values = latents_at(movie_scenes, times)
    rest = np.isnan(values["since"])
    now = {name: np.nan_to_num(value)[:, None].astype(np.float32) for name, value in values.items()}
    dy = (np.arange(HEIGHT, dtype=np.float32) + 0.5) / HEIGHT - now["y"]
    dx = (np.arange(WIDTH, dtype=np.float32) + 0.5) / WIDTH - now["x"]
    # A Gabor is the real part of a function of y times a function of x: far quicker than cosines of pixels.
    wave = np.float32(2 * np.pi) * now["frequency"]
    phase_y = wave * np.sin(now["direction"]) * dy
    phase_x = wave * np.cos(now["direction"]) * dx - np.float32(2 * np.pi) * now["speed"] * now["since"]
    of_y, of_x = np.exp(1j * phase_y - dy**2 / (2 * PATCH**2)), np.exp(1j * phase_x - dx**2 / (2 * PATCH**2))
    amplitude = now["contrast"] * np.minimum(now["luminance"], 1 - now["luminance"])
    parts_y = np.stack([amplitude * of_y.real, -amplitude * of_y.imag], axis=2)
    grey = now["luminance"][:, None] + parts_y @ np.stack([of_x.real, of_x.imag], axis=1)
    grey[rest] = GREY
    grey[rest, HEIGHT // 2 - 6 : HEIGHT // 2 + 6, WIDTH // 2 - 1 : WIDTH // 2 + 1] = 0.6
    grey[rest, HEIGHT // 2 - 1 : HEIGHT // 2 + 1, WIDTH // 2 - 6 : WIDTH // 2 + 6] = 0.6
    return np.repeat((grey[..., None] * 255).astype(np.uint8), 3, axis=-1)


def _sound(movie_scenes: list[Scene], seconds: int) -> np.ndarray:
    """(seconds * 48000,) float32: a trembling tone with an overtone and noise; silence at rest."""
    out = np.zeros(seconds * SOUND_RATE, np.float32)
    for scene in movie_scenes:
        times = scene.start + np.arange((scene.stop - scene.start) * SOUND_RATE) / SOUND_RATE
        values = latents_at([scene], times)
        phase = 2 * np.pi * np.cumsum(2 ** values["pitch"]) / SOUND_RATE
        tone = np.sin(phase) + values["overtone"] * np.sin(2 * phase)
        tone /= np.sqrt((1 + values["overtone"] ** 2) / 2)  # of root mean square 1
        # The noise of a scene depends on the scene alone, so that a repeated clip sounds the same.
        hiss = np.random.default_rng(int(1e9 * scene.first["noise"])).standard_normal(len(times))
        trembling = 0.6 + 0.4 * np.sin(2 * np.pi * TREMBLING * values["since"])
        # Mixed by power, so that a scene is as loud as its latent says whatever it is made of.
        noise = np.clip(values["noise"], 0, 1)
        mixed = np.sqrt(1 - noise) * tone + np.sqrt(noise) * hiss
        start = scene.start * SOUND_RATE
        out[start : start + len(times)] = HEADROOM * values["loudness"] * trembling * mixed
    return np.clip(out, -1, 1)
