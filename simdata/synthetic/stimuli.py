"""Pictures and sound of scenes: a drifting Gabor, and a trembling tone in noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from simdata.synthetic.film import HEIGHT, SOUND_RATE, WIDTH, Footage
from simdata.synthetic.latents import Scene, latents_at

PATCH = 0.28  # s.d. of the grating's envelope, as a share of the picture
GREY = 0.08  # of full white, at rest
TREMBLING = 4.0  # Hz
HEADROOM = 0.4  # root mean square, of full scale, of the loudest sound

Latents = Mapping[str, np.ndarray]  # name -> value at each time
Voice = Callable[[Scene, Latents], np.ndarray]  # what a scene sounds like, of root mean square 1


def footage(movie_scenes: list[Scene], seconds: int) -> Footage:
    """The film of a movie's scenes."""
    return Footage(lambda times: _pictures(movie_scenes, times), sound(movie_scenes, seconds))


def _pictures(movie_scenes: list[Scene], times: np.ndarray) -> np.ndarray:
    values = latents_at(movie_scenes, times)
    now = shown(values)
    grey = now["luminance"] + drifting(now, now["contrast"] * contrast_room(now))
    return finished(grey, np.isnan(values["since"]))


def shown(values: Latents) -> dict[str, np.ndarray]:
    """Latents as (times, 1, 1) float32, 0 at rest."""
    return {name: np.nan_to_num(value)[:, None, None].astype(np.float32) for name, value in values.items()}


def contrast_room(now: Latents) -> np.ndarray:
    """The largest amplitude around the luminance that stays between black and white."""
    return np.minimum(now["luminance"], 1 - now["luminance"])


def drifting(now: Latents, amplitude: np.ndarray, spread: float = PATCH) -> np.ndarray:
    """(times, HEIGHT, WIDTH) float32 drifting Gabors around 0; ``now`` as `shown` gives it."""
    flat = {name: value[..., 0] for name, value in now.items()}
    amplitude = amplitude[..., 0]
    dy = (np.arange(HEIGHT, dtype=np.float32) + 0.5) / HEIGHT - flat["y"]
    dx = (np.arange(WIDTH, dtype=np.float32) + 0.5) / WIDTH - flat["x"]
    # A Gabor is the real part of a function of y times a function of x: far quicker than cosines of pixels.
    wave = np.float32(2 * np.pi) * flat["frequency"]
    phase_y = wave * np.sin(flat["direction"]) * dy
    phase_x = wave * np.cos(flat["direction"]) * dx - np.float32(2 * np.pi) * flat["speed"] * flat["since"]
    of_y = np.exp(1j * phase_y - dy**2 / (2 * spread**2))
    of_x = np.exp(1j * phase_x - dx**2 / (2 * spread**2))
    parts_y = np.stack([amplitude * of_y.real, -amplitude * of_y.imag], axis=2)
    return parts_y @ np.stack([of_x.real, of_x.imag], axis=1)


def finished(grey: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """(times, HEIGHT, WIDTH, 3) uint8 of luminances from 0 to 1; at rest a dark picture with a cross."""
    grey[rest] = GREY
    grey[rest, HEIGHT // 2 - 6 : HEIGHT // 2 + 6, WIDTH // 2 - 1 : WIDTH // 2 + 1] = 0.6
    grey[rest, HEIGHT // 2 - 1 : HEIGHT // 2 + 1, WIDTH // 2 - 6 : WIDTH // 2 + 6] = 0.6
    return np.repeat((grey[..., None] * 255).astype(np.uint8), 3, axis=-1)


def mixture(scene: Scene, values: Latents) -> np.ndarray:
    """A tone with an overtone, and noise: mixed by power, so that what a scene is made of is no louder."""
    phase = 2 * np.pi * np.cumsum(2 ** values["pitch"]) / SOUND_RATE
    tone = np.sin(phase) + values["overtone"] * np.sin(2 * phase)
    tone /= np.sqrt((1 + values["overtone"] ** 2) / 2)  # of root mean square 1
    # The noise of a scene depends on the scene alone, so that a repeated clip sounds the same.
    hiss = np.random.default_rng(int(1e9 * scene.first["noise"])).standard_normal(len(phase))
    noise = np.clip(values["noise"], 0, 1)
    return np.sqrt(1 - noise) * tone + np.sqrt(noise) * hiss


def sound(movie_scenes: list[Scene], seconds: int, voice: Voice = mixture) -> np.ndarray:
    """(seconds * 48000,) float32: each scene as loud as its latent says, trembling; silence at rest."""
    out = np.zeros(seconds * SOUND_RATE, np.float32)
    for scene in movie_scenes:
        times = scene.start + np.arange((scene.stop - scene.start) * SOUND_RATE) / SOUND_RATE
        values = latents_at([scene], times)
        trembling = 0.6 + 0.4 * np.sin(2 * np.pi * TREMBLING * values["since"])
        start = scene.start * SOUND_RATE
        loud = HEADROOM * values["loudness"] * trembling * voice(scene, values)
        out[start : start + len(times)] = loud
    return np.clip(out, -1, 1)
