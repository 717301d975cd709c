"""BOLD that responds to a film: smooth maps on the cortex, a haemodynamic response, and noise."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter
from scipy.stats import gamma

from simdata.release.sources import Play
from simdata.surface.meshes import HEMISPHERES, fs_lr_sphere
from simdata.synthetic.grayordinates import cortex_vertices
from simdata.synthetic.latents import Scene, features

POLES = {"video": (-0.3, -1.0, 0.1), "audio": (-1.0, -0.1, 0.0)}  # left: occipital; superior temporal
REGION = 45.0  # s.d. of a region on the sphere, mm
BUMPS, BUMP = 30, 14.0  # in a map, and their s.d., mm
INDIVIDUAL = 0.35  # s.d. of a subject's own part of a map
ASYMMETRY = 0.3
DELAY = 0.4  # s.d. of a subject's haemodynamic delay, s
SIGNAL = 0.3  # largest share of the variance that is response, in the region of each modality
NETWORKS, NETWORK_NOISE = 20, 0.05  # share of the noise's variance that whole networks have in common
NETWORK_BUMPS = 200  # in a network's map, over all of the cortex
DRIFT = 0.15  # share that is slow in time
AUTOCORRELATION = 0.35
OVERSAMPLING = 10  # steps a second, for the haemodynamic response
ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Subject:
    """One person's cortex: float32 maps of both hemispheres' rows, and haemodynamic delay (s).

    ``maps``, (rows, features), is the response; ``networks``, (rows, NETWORKS), what spontaneous activity has
    in common, of length 1 in every row.
    """

    maps: np.ndarray
    networks: np.ndarray
    delay: float


def make_subject(density: str, seed: int, number: int) -> Subject:
    """Maps shared by all subjects of a seed, plus what is this one's own."""
    # The left hemisphere's frame for both: the right one's maps mirror the left's.
    mesh = fs_lr_sphere(density, "L")[0]
    cortex = {hemisphere: mesh[cortex_vertices(density, hemisphere)] for hemisphere in HEMISPHERES}
    return subject_at(cortex, seed, number)


def subject_at(cortex: Mapping[str, np.ndarray], seed: int, number: int) -> Subject:
    """A subject's maps at given places.

    Parameters
    ----------
    cortex : "L" and "R" -> (rows, 3) mm on the left fs_LR sphere; the right hemisphere's mirrored onto it
    """
    own = np.random.default_rng([seed, 1 + number])
    rows, networks = [], []
    for hemisphere in HEMISPHERES:
        vertices = cortex[hemisphere]
        per_modality = []
        for position, (modality, pole) in enumerate(POLES.items()):
            count = len(features([], np.zeros(1))[modality])
            shared = np.random.default_rng([seed, 0, position])
            sided = np.random.default_rng([seed, 0, position, HEMISPHERES.index(hemisphere)])
            maps = _region_maps(shared, vertices, pole, count)
            maps += ASYMMETRY * _region_maps(sided, vertices, pole, count)
            maps += INDIVIDUAL * _region_maps(own, vertices, pole, count)
            maps *= _envelope(vertices, pole)[:, None]
            per_modality.append(maps / np.linalg.norm(maps, axis=1).max())
        rows.append(np.concatenate(per_modality, axis=1))
        maps = _network_maps(np.random.default_rng([seed, 0, len(POLES)]), vertices)
        maps += INDIVIDUAL * _network_maps(own, vertices)
        networks.append(maps / np.linalg.norm(maps, axis=1, keepdims=True))
    maps = np.concatenate(rows)
    return Subject(
        (maps / np.linalg.norm(maps, axis=1).max()).astype(np.float32),
        np.concatenate(networks).astype(np.float32),
        DELAY * own.standard_normal(),
    )


def _region_maps(rng: np.random.Generator, vertices: np.ndarray, pole: tuple, count: int) -> np.ndarray:
    """(vertices, count) smooth maps around ``pole``."""
    centres = rng.standard_normal((BUMPS, 3)) * REGION + 100 * np.array(pole) / np.linalg.norm(pole)
    return _smooth_maps(rng, vertices, centres, count)


def _network_maps(rng: np.random.Generator, vertices: np.ndarray) -> np.ndarray:
    """(vertices, NETWORKS) smooth maps over all of the cortex."""
    return _smooth_maps(rng, vertices, rng.standard_normal((NETWORK_BUMPS, 3)), NETWORKS)


def _smooth_maps(
    rng: np.random.Generator, vertices: np.ndarray, centres: np.ndarray, count: int
) -> np.ndarray:
    """(vertices, count) sums of bumps of random sign at ``centres`` (in any distance), of s.d. 1."""
    centres = 100 * centres / np.linalg.norm(centres, axis=1, keepdims=True)
    # |v - c|^2 of points on a sphere of 100 mm, as one product.
    distance = 2e4 - 2 * (vertices @ centres.T)
    maps = np.exp(-distance / (2 * BUMP**2)) @ rng.standard_normal((len(centres), count))
    return maps / maps.std()


def _envelope(vertices: np.ndarray, pole: tuple) -> np.ndarray:
    """1 at the pole, exactly 0 from two s.d. on."""
    distance = np.linalg.norm(vertices - 100 * np.array(pole) / np.linalg.norm(pole), axis=1)
    return np.where(distance < 2 * REGION, np.exp(-(distance**2) / (2 * REGION**2)), 0)


def haemodynamic_response(delay: float = 0.0) -> np.ndarray:
    """SPM's canonical double gamma, peak at 5 s + ``delay``, sampled ``OVERSAMPLING`` times a second."""
    time = np.arange(0, 32, 1 / OVERSAMPLING) - delay
    response = gamma.pdf(time, 6) - gamma.pdf(time, 16) / 6
    return response / response.sum()


def expected_response(movie_scenes: list[Scene], volumes: int, delay: float = 0.0) -> np.ndarray:
    """(features, volumes) float32: video's features, then audio's, as the vessels pass them on."""
    times = np.arange(volumes * OVERSAMPLING) / OVERSAMPLING
    return _passed_on(_driven(movie_scenes, times), delay)[:, ::OVERSAMPLING].astype(np.float32)


def response_in_scan(
    shown: Iterable[tuple[Sequence[Scene], Play]],
    volumes: int,
    tr: float,
    delay: float = 0.0,
    modalities: Collection[str] = tuple(POLES),
) -> np.ndarray:
    """The response to what was shown in a scan, by the scan's clock.

    Parameters
    ----------
    shown : scenes of a film, and when which stretch of it was shown
    volumes, tr : of the scan (s); volume k stands for (k + 1/2) TR
    delay : of the response, s
    modalities : of the film; to others there is no response

    Returns
    -------
    (features, volumes) float32, as `expected_response`
    """
    times = np.arange(round(volumes * tr * OVERSAMPLING) + 1) / OVERSAMPLING
    driven = np.zeros((len(_driven([], times[:1])), len(times)))
    for scenes_of_film, play in shown:
        last = np.inf if play.duration is None else play.onset + play.duration
        on = (times >= play.onset) & (times < last)
        film = times[on] - play.onset + play.film_start
        driven[:, on] = _driven(list(scenes_of_film), film, modalities)
    passed = _passed_on(driven, delay)
    middles = (np.arange(volumes) + 0.5) * tr
    return np.stack([np.interp(middles, times, row) for row in passed]).astype(np.float32)


def _driven(
    movie_scenes: list[Scene], times: np.ndarray, modalities: Collection[str] = tuple(POLES)
) -> np.ndarray:
    """(features, times): what drives the response."""
    groups = features(movie_scenes, times)
    return np.concatenate([groups[one] * (one in modalities) for one in POLES])


def _passed_on(driven: np.ndarray, delay: float) -> np.ndarray:
    """The same, as the vessels pass it on."""
    kernel = haemodynamic_response(delay)
    return np.apply_along_axis(np.convolve, 1, driven, kernel)[:, : driven.shape[1]]


def bold(
    subject: Subject, movie_scenes: list[Scene], volumes: int, grayordinates: int, rng: np.random.Generator
) -> np.ndarray:
    """(grayordinates, volumes) float32 in scanner units, mean about 10,000; cortex rows come first."""
    return recorded(subject, expected_response(movie_scenes, volumes, subject.delay), grayordinates, rng)


def recorded(
    subject: Subject, response: np.ndarray, grayordinates: int, rng: np.random.Generator
) -> np.ndarray:
    """A response, (features, volumes), in noise; as `bold`."""
    volumes = response.shape[1]
    deviation = response.std(axis=1, keepdims=True)
    expected = response / np.where(deviation > 0, deviation, 1)
    slow = np.cos(np.pi * np.outer(np.arange(1, 4), np.arange(volumes) + 0.5) / volumes)
    spontaneous = np.float32(np.sqrt(NETWORK_NOISE)) * _autocorrelated(rng, (NETWORKS, volumes))
    data = np.empty((grayordinates, volumes), np.float32)
    for start in range(0, grayordinates, ROWS_AT_ONCE):
        rows = data[start : start + ROWS_AT_ONCE]
        rows[...] = _autocorrelated(rng, rows.shape)
        rows *= np.sqrt(1 - NETWORK_NOISE - DRIFT)
        rows += _random(rng, len(rows), len(slow), 2 * DRIFT) @ slow.astype(np.float32)
        maps, networks = (of[start : start + ROWS_AT_ONCE] for of in (subject.maps, subject.networks))
        rows[: len(maps)] += networks @ spontaneous
        rows[: len(maps)] += np.float32(np.sqrt(SIGNAL / (1 - SIGNAL))) * (maps @ expected)
        rows *= rng.uniform(100, 300, (len(rows), 1)).astype(np.float32)
        rows += (10_000 + 1500 * rng.standard_normal((len(rows), 1))).astype(np.float32)
    return data


def _random(rng: np.random.Generator, rows: int, rank: int, variance: float) -> np.ndarray:
    return rng.standard_normal((rows, rank), np.float32) * np.float32(np.sqrt(variance / rank))


def _autocorrelated(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Noise of unit variance, AR(1) along the last axis."""
    white = rng.standard_normal(shape, np.float32)
    gain = np.float32(np.sqrt(1 - AUTOCORRELATION**2))
    return lfilter(np.array([gain]), np.array([1, -AUTOCORRELATION], np.float32), white, axis=1)
