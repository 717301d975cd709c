"""Counts that are a share of a whole, such as the steps of the warm-up."""

from __future__ import annotations

import math
from fractions import Fraction


def share_up(share: float, whole: int) -> int:
    """The least count that is ``share`` of ``whole`` or more: 7 of 100 for .07."""
    return math.ceil(_exact(share) * whole)


def share_near(share: float, whole: int) -> int:
    """The count next to ``share`` of ``whole``; of two as near, the even one."""
    return round(_exact(share) * whole)


def _exact(share: float) -> Fraction:
    """The decimal number that was written, not its neighbour in binary: .07 * 100 is above 7 in floats."""
    return Fraction(repr(float(share)))
