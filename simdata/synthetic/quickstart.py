"""The miniature that is learnt in a minute: strong linear responses in noise that vertices do not share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simdata.release.catalog import Catalog, Movie
from simdata.synthetic.film import Footage
from simdata.synthetic.grayordinates import brain_models
from simdata.synthetic.latents import scenes
from simdata.synthetic.miniature import Scanned
from simdata.synthetic.response import bold, make_subject
from simdata.synthetic.stimuli import footage


@dataclass(frozen=True)
class Quickstart:
    """Content of the quickstart's miniature, as `simdata.synthetic.response` describes it."""

    catalog: Catalog
    seed: int

    def footage(self, movie: Movie) -> Footage:
        """A drifting Gabor, and a trembling tone in noise."""
        return footage(scenes(movie, self.seed), movie.length)

    def subject(self, density: str, number: int) -> Scanned:
        """A subject with maps and a haemodynamic delay of their own."""
        subject = make_subject(density, self.seed, number)

        def scanned(movie: Movie) -> np.ndarray:
            rng = np.random.default_rng([self.seed, number, self.catalog.movies.index(movie), 2])
            return bold(subject, scenes(movie, self.seed), movie.length, brain_models(density).size, rng)

        return scanned
