"""Modalities: BOLD, and the embeddings of the film that a model is aligned with.

``fmri`` is BOLD. ``video``, ``audio`` and ``text``, which is the words said, are the store's embedding of
that kind, its only one or the one that ``data.video``, ``data.audio`` or ``data.text`` names. Any other
modality is the name of an embedding in the store, such as ``video_clip`` or ``text_gpt2``, so that a model
may have several of a kind, and of any kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import combinations

KINDS = ("fmri", "video", "audio", "text")
PATTERN = "fmri|video|audio|text|[a-z][a-z0-9]*_[A-Za-z0-9_-]+"
OTHER_KINDS = 0.1  # weight of two kinds without a weight of their own, such as fmri and text

Pair = tuple[str, str]


def kind(modality: str) -> str:
    """``video`` of ``video_clip``."""
    return modality.partition("_")[0]


def key(pair: Pair) -> str:
    """Name of a pair in a configuration: ``fmri_video`` of ``fmri`` and ``video``."""
    return "_".join(pair)


def pairs(modalities: Iterable[str]) -> list[Pair]:
    """All pairs, in the order of their kinds; those beyond ``KINDS`` come last, by the alphabet."""
    return list(combinations(sorted(modalities, key=lambda modality: _place(kind(modality))), 2))


def kinds(pair: Pair) -> str:
    """The `key` of a pair's kinds: ``fmri_video`` of ``fmri`` and ``video_clip``."""
    return key((kind(pair[0]), kind(pair[1])))


def weigh(modalities: Iterable[str], weights: Mapping[str, float]) -> dict[Pair, float]:
    """The weight of every pair of modalities, before renormalisation.

    Parameters
    ----------
    weights : by the `key` of a pair, or of two kinds, which the pairs of these kinds share evenly. A pair of
        one kind that has no weight of its own has 0: it would not look at BOLD.
    """
    found = pairs(modalities)
    count = Counter(map(kinds, found))

    def weight(pair: Pair) -> float:
        one, other = map(kind, pair)
        if key(pair) in weights and key(pair) != kinds(pair):
            return weights[key(pair)]
        return weights.get(kinds(pair), 0.0 if one == other else OTHER_KINDS) / count[kinds(pair)]

    return {pair: weight(pair) for pair in found}


def _place(kind: str) -> tuple[int, str]:
    return (KINDS.index(kind), "") if kind in KINDS else (len(KINDS), kind)
