"""Modalities: BOLD, and the embeddings of the film that a model is aligned with.

``fmri`` is BOLD. ``video`` and ``audio`` are the store's embedding of that kind, its only one or the one that
``data.video`` or ``data.audio`` names. Any other modality is the name of an embedding in the store, such as
``video_clip``, so that a model may have several of a kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import combinations

KINDS = ("fmri", "video", "audio")
PATTERN = "fmri|(video|audio)(_[A-Za-z0-9_-]+)?"

Pair = tuple[str, str]


def kind(modality: str) -> str:
    """``video`` of ``video_clip``."""
    return modality.partition("_")[0]


def key(pair: Pair) -> str:
    """Name of a pair in a configuration: ``fmri_video`` of ``fmri`` and ``video``."""
    return "_".join(pair)


def pairs(modalities: Iterable[str]) -> list[Pair]:
    """All pairs, in the order of their kinds."""
    return list(combinations(sorted(modalities, key=lambda modality: KINDS.index(kind(modality))), 2))


def weigh(modalities: Iterable[str], weights: Mapping[str, float]) -> dict[Pair, float]:
    """The weight of every pair of modalities, before renormalisation.

    Parameters
    ----------
    weights : by the `key` of a pair, or of two kinds, which the pairs of these kinds share evenly. A pair of
        one kind that has no weight of its own has 0: it would not look at BOLD.
    """
    found = pairs(modalities)
    kinds = {pair: key((kind(pair[0]), kind(pair[1]))) for pair in found}
    count = Counter(kinds.values())

    def weight(pair: Pair) -> float:
        if key(pair) in weights and key(pair) != kinds[pair]:
            return weights[key(pair)]
        return weights.get(kinds[pair], 0.0) / count[kinds[pair]]

    return {pair: weight(pair) for pair in found}
