"""Where on a subject's cortex is what: regions that answer the film, and what spontaneous noise shares.

All maps are functions of place on the sphere (mm, radius 100), mirrored in the right hemisphere. A subject's
warp moves the places, and so everything alike: the same function lies some mm elsewhere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simdata.surface.meshes import HEMISPHERES, RADIUS, fs_lr_sphere
from simdata.synthetic.grayordinates import cortex_vertices
from simdata.synthetic.study.fields import smooth_fields
from simdata.synthetic.study.streams import stream

WARP, WARP_SCALE = 3.5, 25.0  # root mean square of the displacement, and how far it is alike, mm
MAP_SCALE = 6.0  # how far neighbours in a region answer alike, mm
NETWORKS, NETWORK_SCALE = 17, 20.0
GLOBAL_SPREAD, GLOBAL_SCALE = 0.3, 30.0  # s.d. of the global signal's gain, of its mean; mm


class Region(NamedTuple):
    """A region: its middle in the left hemisphere's frame, its radius (mm), when its response peaks (s)."""

    pole: tuple[float, float, float]
    radius: float
    peak: float


REGIONS = {
    "visual": Region((-0.3, -1.0, 0.1), 40.0, 4.5),
    "auditory": Region((-1.0, 0.0, 0.0), 30.0, 4.0),
    "categories": Region((-0.6, -0.4, -0.7), 30.0, 5.5),
    "conjunctions": Region((-0.6, 0.6, 0.6), 30.0, 6.5),
}


class Topography(NamedTuple):
    """Of one subject, over the rows of both hemispheres' cortex, L first; float32.

    Attributes
    ----------
    maps : region -> (rows, features), how a vertex weighs a region's features. The sum of squares over all
        regions is at most 1, and 0 far from all
    networks : (rows, NETWORKS) of length 1
    gain : (rows,) of the global signal, of mean square 1
    """

    maps: dict[str, np.ndarray]
    networks: np.ndarray
    gain: np.ndarray


def places(density: str, hemisphere: str, seed: int, number: int, warp: bool) -> np.ndarray:
    """(rows, 3) mm: where in the shared topography a subject's vertices lie, in the left's frame."""
    points = fs_lr_sphere(density, "L")[0][cortex_vertices(density, hemisphere)]
    if not warp:
        return points
    push = smooth_fields(stream(seed, "warp", number, hemisphere), points, WARP_SCALE, 3)
    push -= (push * points).sum(axis=1, keepdims=True) / RADIUS**2 * points
    moved = points + WARP / np.sqrt(2) * push  # of the two directions along the sphere, each of variance 1
    return moved * (RADIUS / np.linalg.norm(moved, axis=1, keepdims=True))


def topography(density: str, seed: int, number: int, features: dict[str, int], warp: bool) -> Topography:
    """A subject's topography; ``features``: how many each region has."""
    found = [_hemisphere(places(density, h, seed, number, warp), seed, features) for h in HEMISPHERES]
    left, right = found
    return Topography(
        {name: np.concatenate([left.maps[name], right.maps[name]]) for name in features},
        np.concatenate([left.networks, right.networks]),
        np.concatenate([left.gain, right.gain]),
    )


def _hemisphere(points: np.ndarray, seed: int, features: dict[str, int]) -> Topography:
    envelopes = {name: _envelope(points, REGIONS[name]) for name in features}
    power = sum(envelope**2 for envelope in envelopes.values())
    limit = 1 / np.sqrt(np.maximum(power, 1))
    maps = {
        name: _unit(smooth_fields(stream(seed, "maps", name), points, MAP_SCALE, count))
        * (limit * envelopes[name])[:, None]
        for name, count in features.items()
    }
    networks = _unit(smooth_fields(stream(seed, "networks"), points, NETWORK_SCALE, NETWORKS))
    gain = 1 + GLOBAL_SPREAD * smooth_fields(stream(seed, "global gain"), points, GLOBAL_SCALE, 1)[:, 0]
    gain /= np.sqrt(1 + GLOBAL_SPREAD**2)
    return Topography(maps, networks, gain)


def _envelope(points: np.ndarray, region: Region) -> np.ndarray:
    """(points,) float32: 1 in the middle, .6 at the radius, exactly 0 from 1.5 radii on."""
    pole = RADIUS * np.array(region.pole) / np.linalg.norm(region.pole)
    distance = np.linalg.norm(points - pole, axis=1) / region.radius
    return np.where(distance < 1.5, np.exp(-(distance**4) / 2), 0).astype(np.float32)


def _unit(fields: np.ndarray) -> np.ndarray:
    return fields / np.linalg.norm(fields, axis=1, keepdims=True)
