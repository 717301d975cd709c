"""What makes up the content of a miniature release."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from simdata.release.catalog import Movie
from simdata.synthetic.film import Footage

# A movie -> its run, (grayordinates, volumes) float32 in scanner units.
Scanned = Callable[[Movie], np.ndarray]


class Miniature(Protocol):
    """Films and subjects, each the same whenever it is asked for."""

    def footage(self, movie: Movie) -> Footage:
        """What a movie's film shows."""

    def subject(self, density: str, number: int) -> Scanned:
        """A subject, by number from 1, on the meshes of a density, ready for the scanner."""
