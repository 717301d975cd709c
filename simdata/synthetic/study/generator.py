"""The study's subjects in the scanner: responses to the film and noise, of properties that are on or off."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from simdata.release.catalog import Movie
from simdata.surface.meshes import HEMISPHERES
from simdata.synthetic.film import Footage
from simdata.synthetic.grayordinates import brain_models, cortex_vertices
from simdata.synthetic.latents import Scene
from simdata.synthetic.miniature import Scanned
from simdata.synthetic.study import scenes as categorical
from simdata.synthetic.study.noise import coloured, smoothing
from simdata.synthetic.study.properties import PROPERTIES
from simdata.synthetic.study.responses import CANONICAL_PEAK, expected, feature_counts
from simdata.synthetic.study.stimuli import footage
from simdata.synthetic.study.streams import stream
from simdata.synthetic.study.topography import MAP_SCALE, NETWORKS, REGIONS, WARP, Topography, topography

COMMON = 0.26  # share of a vertex's variance that subjects have in common, in the middle of a region
GLOBAL_SHARE, NETWORK_SHARE = 0.1, 0.15  # of the noise's variance
DELAY = 0.3  # s.d. of a subject's own part of when responses peak, s


@dataclass(frozen=True)
class Study:
    """Content of the study's miniature: ``properties`` names what is on (`PROPERTIES`)."""

    seed: int
    properties: frozenset[str] = field(default_factory=lambda: frozenset(PROPERTIES))

    def has(self, name: str) -> bool:
        """Whether a property is on."""
        if name not in PROPERTIES:
            raise KeyError(name)
        return name in self.properties

    def scenes(self, movie: Movie) -> list[Scene]:
        """What happens in a movie."""
        return categorical.scenes(movie, self.seed, self.has("shared-categories"))

    def footage(self, movie: Movie) -> Footage:
        """Gabors and tones of the scenes' categories, with a mark for every sign."""
        return footage(self.scenes(movie), movie.length)

    def subject(self, density: str, number: int) -> Scanned:
        """A subject, whose topography and haemodynamics are the same in all runs."""
        found = topography(density, self.seed, number, feature_counts(), self.has("warp"))
        peaks = self.peaks(number)
        return lambda movie: self._scan(movie, density, number, found, peaks)

    def peaks(self, number: int) -> dict[str, float]:
        """Region -> when a subject's response peaks, s."""
        if not self.has("regional-hrf"):
            return dict.fromkeys(REGIONS, CANONICAL_PEAK)
        own = DELAY * stream(self.seed, "delay", number).standard_normal()
        return {name: region.peak + own for name, region in REGIONS.items()}

    @property
    def signal(self) -> float:
        """The largest share of a vertex's variance that is response.

        Of two subjects that are warped, the same vertex answers alike in a part only; the share is larger by
        so much that they have ``COMMON`` in common whether they are warped or not.
        """
        per_axis = WARP**2 if self.has("warp") else 0.0  # variance along an axis, of two subjects' difference
        return COMMON * (1 + per_axis / MAP_SCALE**2)

    def _scan(
        self, movie: Movie, density: str, number: int, found: Topography, peaks: dict[str, float]
    ) -> np.ndarray:
        """(grayordinates, volumes) float32 in scanner units, mean about 10,000; cortex rows come first."""
        data = self._noise(movie, density, number, found)
        response = expected(self.scenes(movie), movie.length, peaks, self.has("conjunctive"))
        strength = np.float32(np.sqrt(self.signal / (1 - self.signal)))
        for name, maps in found.maps.items():
            rows = np.flatnonzero(maps.any(axis=1))
            data[rows] += strength * (maps[rows] @ response[name])
        scanner = stream(self.seed, "scanner", number, movie.name)
        data *= scanner.uniform(100, 300, (len(data), 1)).astype(np.float32)
        data += (10_000 + 1500 * scanner.standard_normal((len(data), 1))).astype(np.float32)
        return data

    def _noise(self, movie: Movie, density: str, number: int, found: Topography) -> np.ndarray:
        """Of variance 1: what is a vertex's own, its neighbours', its networks' and all the cortex's."""
        run, slow = (number, movie.name), self.has("one-over-f")
        data = np.empty((brain_models(density).size, movie.length), np.float32)
        globally = GLOBAL_SHARE if self.has("global-signal") else 0.0
        of_networks = NETWORK_SHARE if self.has("networks") else 0.0
        start = 0
        for hemisphere in HEMISPHERES:
            rng = stream(self.seed, "noise", *run, hemisphere)
            rows = slice(start, start := start + len(cortex_vertices(density, hemisphere)))
            own = coloured(rng, rows.stop - rows.start, movie.length, slow)
            data[rows] = smoothing(density, hemisphere) @ own if self.has("smooth") else own
            data[rows] *= np.float32(np.sqrt(1 - globally - of_networks))
        cortex = data[:start]
        if globally:
            signal = coloured(stream(self.seed, "global signal", *run), 1, movie.length, slow)[0]
            cortex += np.outer(found.gain, np.float32(np.sqrt(globally)) * signal)
        if of_networks:
            courses = coloured(stream(self.seed, "networks", *run), NETWORKS, movie.length, slow)
            cortex += found.networks @ (np.float32(np.sqrt(of_networks)) * courses)
        below = stream(self.seed, "noise", *run, "below")
        data[start:] = coloured(below, len(data) - start, movie.length, slow)
        return data
