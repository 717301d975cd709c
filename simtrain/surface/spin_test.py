"""Correlation of maps over the cortex, with a p-value that knows how smooth they are: the spin test.

Neighbouring vertices are alike, so that the number of vertices is no number of observations. The test of
Alexander-Bloch et al. (NeuroImage 2018, doi:10.1016/j.neuroimage.2018.05.070) keeps the smoothness: it turns
the sphere of the left hemisphere by a random rotation, that of the right by its mirror image in x, gives
each vertex the value of the nearest turned vertex, and correlates again.

What lies in the medial wall has no value: where it is turned to, and where the other map has none, a vertex
is left out of that rotation's correlation, as in the original. The p-value is two-sided, (1 + rotations that
correlate as strongly or more) / (1 + rotations). Markello & Misic (NeuroImage 2021,
doi:10.1016/j.neuroimage.2021.118052) compare this with other null models, and find it a little liberal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from scipy.stats import rankdata

STATISTICS = ("pearson", "spearman")
ROUNDING = 1e-9  # of a correlation in float64
Values = Mapping[str, np.ndarray]  # of each hemisphere (maps, vertices) float64, NaN without data


@dataclass(frozen=True)
class SpinTest:
    """Correlations of maps with other maps, over the vertices in which all of both have data.

    Attributes
    ----------
    r : (maps, other maps)
    p : (maps, other maps), not corrected for how many there are
    nulls : (rotations, maps, other maps), the correlations of turned maps
    vertices : how many, in all hemispheres together
    """

    r: np.ndarray
    p: np.ndarray
    nulls: np.ndarray
    vertices: int


def spin_test(
    maps: Values,
    others: Values,
    spheres: Mapping[str, np.ndarray],
    *,
    statistic: str = "pearson",
    rotations: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SpinTest:
    """Correlate maps with others of the same hemispheres and vertices; ``maps`` are those that turn.

    One rotation is in memory at a time.

    Parameters
    ----------
    spheres : of each hemisphere (vertices, 3), centred at 0; x to the right
    progress : called with the number of rotations done, and of all
    """
    turned = _Turned(spheres)
    same = {side: np.arange(len(spheres[side])) for side in maps}
    observed, vertices = _correlations(maps, others, same, statistic)
    rng = np.random.default_rng(seed)
    nulls = np.empty((rotations, *observed.shape))
    for number, rotation in enumerate(Rotation.random(rotations, rng=rng).as_matrix()):
        nulls[number], _ = _correlations(maps, others, turned.by(rotation), statistic)
        progress(number + 1, rotations)
    # What correlates with nothing, since a turned map does not vary, counts as strong.
    weaker = np.abs(nulls) < np.abs(observed) - ROUNDING
    p = (1 + (~weaker).sum(axis=0)) / (1 + rotations)
    return SpinTest(observed, p, nulls, vertices)


class _Turned:
    """Where the value of each vertex comes from when spheres are turned.

    Seen in the mirror, the right hemisphere turns as the left does; and where its vertices mirror the left's,
    as on all meshes of ours, one search does for both.
    """

    def __init__(self, spheres: Mapping[str, np.ndarray]) -> None:
        as_left = {side: xyz * [1 if side == "L" else -1, 1, 1] for side, xyz in spheres.items()}
        self._as_left = {
            side: xyz / np.linalg.norm(xyz, axis=1, keepdims=True) for side, xyz in as_left.items()
        }
        first = next(iter(self._as_left.values()))
        self._mirrored = all(
            xyz.shape == first.shape and np.allclose(xyz, first) for xyz in self._as_left.values()
        )
        self._trees = {side: cKDTree(xyz) for side, xyz in self._as_left.items()}

    def by(self, rotation: np.ndarray) -> dict[str, np.ndarray]:
        """Of each hemisphere (vertices,) int: the vertex that lies nearest after the rotation (3, 3)."""
        found: dict[str, np.ndarray] = {}
        for side, xyz in self._as_left.items():
            if self._mirrored and found:
                found[side] = next(iter(found.values()))
            else:
                # Nearest to x among turned vertices is nearest to x turned back among those that are not.
                found[side] = self._trees[side].query(xyz @ rotation, workers=-1)[1]
        return found


def _correlations(
    maps: Values, others: Values, source: Mapping[str, np.ndarray], statistic: str
) -> tuple[np.ndarray, int]:
    """(maps, other maps) where vertices of the maps take the values of ``source``, and how many count."""
    parts = []
    for side, index in source.items():
        both = with_data(maps[side])[index] & with_data(others[side])
        parts.append((maps[side][:, index[both]], others[side][:, both]))
    one, other = (np.concatenate(of_sides, axis=1) for of_sides in zip(*parts, strict=True))
    if statistic == "spearman":
        one, other = rankdata(one, axis=1), rankdata(other, axis=1)
    return _of_length_one(one) @ _of_length_one(other).T, one.shape[1]


def with_data(values: np.ndarray) -> np.ndarray:
    """(vertices,) bool: where all of (maps, vertices) have a value."""
    return np.isfinite(values).all(axis=0)


def _of_length_one(values: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and length 1; NaN where one does not vary."""
    centred = values - values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    varies = np.ptp(values, axis=1, keepdims=True) > 0
    return centred / np.where(varies, length, np.nan)
