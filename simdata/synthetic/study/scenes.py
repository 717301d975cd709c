"""Scenes whose picture and sound are of categories, and carry signs that only together mean something."""

from __future__ import annotations

import numpy as np

from simdata.release.catalog import Movie, Segment
from simdata.synthetic.latents import AUDIO, DRIFT, LATENTS, VIDEO, Scene
from simdata.synthetic.study.streams import stream

CATEGORIES = 6
BETWEEN, WITHIN = 0.6, 0.4  # of a latent's range: over categories, and over scenes of one
SCENE_SECONDS = (4, 9)
# Fair coins of each scene, -1 or 1: what the conjunctive units are made of.
SEEN_SIGNS = tuple(f"seen-sign-{number}" for number in range(4))
HEARD_SIGNS = tuple(f"heard-sign-{number}" for number in range(4))
NAMES = (*LATENTS, "seen", "heard", *SEEN_SIGNS, *HEARD_SIGNS)


def scenes(movie: Movie, seed: int, shared_categories: bool) -> list[Scene]:
    """The scenes of a movie; beside the latents, ``seen`` and ``heard`` are categories, and there are signs.

    A clip of the same name is the same wherever it is shown. Pictures are the same whether categories are
    shared or not.
    """
    return [one for segment in movie.clips for one in _scenes_of(segment, seed, shared_categories)]


def _scenes_of(segment: Segment, seed: int, shared_categories: bool) -> list[Scene]:
    rng, own = stream(seed, "scenes", segment.name), stream(seed, "heard categories", segment.name)
    centres = _centres(seed)
    found, start = [], segment.start
    while start < segment.stop:
        stop = min(start + int(rng.integers(SCENE_SECONDS[0], SCENE_SECONDS[1] + 1)), segment.stop)
        seen, alone = int(rng.integers(CATEGORIES)), int(own.integers(CATEGORIES))
        heard = seen if shared_categories else alone
        first, last = _latents(rng, {**dict.fromkeys(VIDEO, seen), **dict.fromkeys(AUDIO, heard)}, centres)
        kept = {"seen": float(seen), "heard": float(heard)}
        kept |= {name: float(rng.choice((-1, 1))) for name in (*SEEN_SIGNS, *HEARD_SIGNS)}
        found.append(Scene(start, stop, first | kept, last | kept))
        start = stop
    return found


def _centres(seed: int) -> dict[str, np.ndarray]:
    """Of each latent, (CATEGORIES,) values in another order."""
    levels = BETWEEN * ((np.arange(CATEGORIES) + 0.5) / CATEGORIES - 0.5) + 0.5
    rng = stream(seed, "categories")
    return {name: low + (high - low) * rng.permutation(levels) for name, (low, high) in LATENTS.items()}


def _latents(
    rng: np.random.Generator, category: dict[str, int], centres: dict[str, np.ndarray]
) -> tuple[dict[str, float], dict[str, float]]:
    """Of a scene, at its beginning and at its end."""
    first, last = {}, {}
    for name, (low, high) in LATENTS.items():
        place, way = rng.uniform(-0.5, 0.5) * WITHIN, rng.uniform(-1, 1) * DRIFT
        first[name] = float(centres[name][category[name]] + (high - low) * place)
        last[name] = first[name] + (high - low) * way
    return first, last
