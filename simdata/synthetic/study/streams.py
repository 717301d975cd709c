"""Random streams by what they are for, so that turning one property off moves no other."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, *purpose: object) -> np.random.Generator:
    """A generator for a purpose, such as ``stream(0, "warp", 3, "L")``."""
    digest = hashlib.sha256(":".join(map(str, (seed, *purpose))).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
