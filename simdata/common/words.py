"""Words with times: what a transcript is to all that read it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

# On film time, in s: a word is said from onset to offset, which may be the same.
WORD = np.dtype([("onset", "f8"), ("offset", "f8"), ("text", object)])


def words_of(rows: Iterable[tuple[float, float, str]]) -> np.ndarray:
    """(n,) WORD of (onset, offset, text), by onset; words that begin together stay in their order."""
    words = np.array([*rows], WORD)
    return words[np.argsort(words["onset"], kind="stable")]
