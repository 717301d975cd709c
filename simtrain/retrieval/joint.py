"""One query for all modalities of the stimulus: their similarities to BOLD, summed with weights.

A similarity over the temperature is, but for what all candidates share, the logarithm of how likely a
candidate is by that modality (van den Oord et al. 2018, arXiv 1807.03748), and training has one temperature
for all: so the plain sum is a product of experts. What modalities tell twice, and how well each is known,
weights make up for: those that retrieve best in the validation set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from simdata.common.errors import UserError
from simtrain.retrieval.by_modality import of_modality

VALIDATION, EQUAL, NONE = "validation", "equal", "none"
WAYS = (VALIDATION, EQUAL, NONE)
STEPS = {2: 20, 3: 10}  # of the grid, by the number of modalities
FEWEST_STEPS = 5

Joint = str | Mapping[str, float]


class JointWeights(NamedTuple):
    """The weights of one query of several modalities.

    Attributes
    ----------
    weights : modality -> its weight; they sum to 1
    by : how they came about: ``validation``, ``equal`` or ``given``
    note : the same in words
    """

    weights: dict[str, float]
    by: str
    note: str

    @property
    def name(self) -> str:
        """Of the modalities together, in the names of directions."""
        return "+".join(self.weights)

    def __str__(self) -> str:
        told = ", ".join(f"{weight:.2f} {modality}" for modality, weight in self.weights.items())
        return f"{self.name}: sum of similarities, {told}, {self.note}"


def given(setting: Mapping[str, float], modalities: Sequence[str]) -> JointWeights:
    """The weights that a setting names, by kinds or names of modalities.

    Raises
    ------
    UserError
        If it says nothing of one, or is negative, or 0 for all.
    """
    values = [float(of_modality("joint", setting, modality)) for modality in modalities]
    if not min(values) >= 0 or not 0 < sum(values) < np.inf:
        raise UserError(f"`joint` {dict(setting)}: weights are 0 or more, and one of them is not 0")
    weights = {name: value / sum(values) for name, value in zip(modalities, values, strict=True)}
    return JointWeights(weights, "given", "as given")


def equal(modalities: Sequence[str], note: str = "all alike") -> JointWeights:
    """The same weight for each."""
    return JointWeights(dict.fromkeys(modalities, 1 / len(modalities)), EQUAL, note)


def grid(count: int) -> np.ndarray:
    """(n, count) weights: all multiples of a step that sum to 1, those that are most alike first."""
    steps = STEPS.get(count, FEWEST_STEPS)
    whole = [one for one in product(range(steps + 1), repeat=count) if sum(one) == steps]
    points = np.array(whole) / steps
    return points[np.argsort(np.square(points).sum(axis=1), kind="stable")]


def chosen_of(modalities: Sequence[str], points: np.ndarray, scores: np.ndarray) -> JointWeights:
    """The weights of the best score; of equally good ones, those that are most alike.

    Parameters
    ----------
    points : (n, modalities) as `grid` gives
    scores : (n, groups) of each, more is better; groups count alike
    """
    mean = scores.mean(axis=1)
    best = points[np.argmax(mean >= mean.max() - 1e-9)]
    weights = dict(zip(modalities, best.tolist(), strict=True))
    return JointWeights(weights, VALIDATION, "chosen by validation")
