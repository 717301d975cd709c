"""What each region of the cortex responds to, over time."""

from __future__ import annotations

import numpy as np

from simdata.synthetic.latents import Scene, latents_at
from simdata.synthetic.latents import features as scaled
from simdata.synthetic.response import OVERSAMPLING, haemodynamic_response
from simdata.synthetic.study.scenes import CATEGORIES, HEARD_SIGNS, NAMES, SEEN_SIGNS

CANONICAL_PEAK = 5.0  # s, of SPM's response
HALF = len(SEEN_SIGNS) // 2


def features(movie_scenes: list[Scene], times: np.ndarray, conjunctive: bool) -> dict[str, np.ndarray]:
    """Region -> (features, times) float64, 0 at rest.

    The cortex has the first half of the heard signs and the second half of the seen ones by themselves, and
    of every pair the product. So the seen signs of the first half, and the heard ones of the second, can be
    told from two regions together, and from none by itself or by a sum of both. Not ``conjunctive``, it has
    those in place of the products.
    """
    values, groups = latents_at(movie_scenes, times, NAMES), scaled(movie_scenes, times)
    rest, number = np.isnan(values["since"]), np.arange(CATEGORIES)[:, None]
    categories = (values["seen"] == number) * 1.0 + (values["heard"] == number) - 2 / CATEGORIES
    seen, heard = (np.nan_to_num([values[name] for name in names]) for names in (SEEN_SIGNS, HEARD_SIGNS))
    alone = np.concatenate([seen[:HALF], heard[HALF:]])
    return {
        "visual": np.concatenate([groups["video"], seen[HALF:]]),
        "auditory": np.concatenate([groups["audio"], heard[:HALF]]),
        "categories": np.where(rest, 0, categories),
        "conjunctions": seen * heard if conjunctive else alone,
    }


def expected(
    movie_scenes: list[Scene], volumes: int, peaks: dict[str, float], conjunctive: bool
) -> dict[str, np.ndarray]:
    """Region -> (features, volumes) float32 as the vessels pass them on, each of s.d. 1; ``peaks``: s."""
    times = np.arange(volumes * OVERSAMPLING) / OVERSAMPLING
    found = {}
    for name, driven in features(movie_scenes, times, conjunctive).items():
        kernel = haemodynamic_response(peaks[name] - CANONICAL_PEAK)
        blurred = np.apply_along_axis(np.convolve, 1, driven, kernel)[:, : len(times) : OVERSAMPLING]
        spread = blurred.std(axis=1, keepdims=True)
        found[name] = (blurred / np.where(spread > 0, spread, 1)).astype(np.float32)
    return found


def feature_counts() -> dict[str, int]:
    """How many features each region has."""
    return {name: len(of_region) for name, of_region in features([], np.zeros(1), True).items()}
