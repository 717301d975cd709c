"""What happens on screen and in the loudspeaker: latents over time, scene by scene."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from simdata.release.catalog import Movie, Segment

# Range of each latent; a scene begins somewhere in it and drifts a little.
VIDEO = {
    "direction": (0.0, 2 * np.pi),  # of drift
    "frequency": (2.0, 7.0),  # cycles a picture
    "speed": (0.3, 4.0),  # Hz
    "contrast": (0.25, 0.95),
    "luminance": (0.25, 0.75),
    "x": (0.3, 0.7),  # of the picture's width
    "y": (0.35, 0.65),
}
AUDIO = {
    "pitch": (np.log2(180.0), np.log2(2400.0)),  # octaves
    "overtone": (0.0, 1.2),  # amplitude of the octave relative to the tone
    "loudness": (0.1, 0.6),  # of the loudest sound
    "noise": (0.0, 0.9),  # share of the power
}
LATENTS = VIDEO | AUDIO
DRIFT = 0.12  # of the range, over a scene
SCENE_SECONDS = (3, 6)


@dataclass(frozen=True)
class Scene:
    """A stretch [start, stop) s of a movie with the latents at both of its ends."""

    start: int
    stop: int
    first: dict[str, float]
    last: dict[str, float]


def scenes(movie: Movie, seed: int) -> list[Scene]:
    """The scenes of a movie's segments. A clip of the same name is the same wherever it is shown."""
    return [scene for segment in movie.clips for scene in scenes_of_clip(segment, seed)]


def scenes_of_clip(segment: Segment, seed: int) -> list[Scene]:
    """The scenes of one clip."""
    digest = hashlib.sha256(f"{seed}:{segment.name}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    found, start = [], segment.start
    while start < segment.stop:
        stop = min(start + int(rng.integers(SCENE_SECONDS[0], SCENE_SECONDS[1] + 1)), segment.stop)
        first = {name: rng.uniform(low, high) for name, (low, high) in LATENTS.items()}
        last = {
            name: first[name] + DRIFT * (high - low) * rng.uniform(-1, 1)
            for name, (low, high) in LATENTS.items()
        }
        found.append(Scene(start, stop, first, last))
        start = stop
    return found


def latents_at(
    movie_scenes: list[Scene], times: np.ndarray, names: Collection[str] = tuple(LATENTS)
) -> dict[str, np.ndarray]:
    """Each latent at ``times`` (s), NaN during rest; ``since`` is the time since the scene's beginning."""
    values = {name: np.full(len(times), np.nan) for name in (*names, "since")}
    for scene in movie_scenes:
        inside = (times >= scene.start) & (times < scene.stop)
        share = (times[inside] - scene.start) / (scene.stop - scene.start)
        values["since"][inside] = times[inside] - scene.start
        for name in names:
            values[name][inside] = scene.first[name] + share * (scene.last[name] - scene.first[name])
    return values


def features(movie_scenes: list[Scene], times: np.ndarray) -> dict[str, np.ndarray]:
    """What the brain responds to: (features, times) float64 for "video" and "audio".

    Latents scaled to mean 0 and s.d. 1 over their range, an angle as its sine and cosine; 0 at rest.
    """
    values = latents_at(movie_scenes, times)
    groups = {}
    for modality, ranges in (("video", VIDEO), ("audio", AUDIO)):
        rows = []
        for name, (low, high) in ranges.items():
            if name == "direction":
                rows += [np.sqrt(2) * np.cos(values[name]), np.sqrt(2) * np.sin(values[name])]
            else:
                rows.append((values[name] - (low + high) / 2) / (high - low) * np.sqrt(12))
        groups[modality] = np.nan_to_num(np.array(rows))
    return groups
