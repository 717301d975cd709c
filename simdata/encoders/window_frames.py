"""Which pictures of a window a model of clips sees: the setting ``frames``.

A model takes some number of pictures; a window has more. Publishers choose them by different rules, and the
same model gives other embeddings with each:

- ``even``: those on screen in the middles of equal parts of the window; not tied to the film's own rate.
- ``linspace``: of the film's own n pictures in the window, np.linspace(0, n - 1, number, dtype=int), from the
  first to the last, as the video pipeline of Hugging Face's transformers takes them.
- ``interval:N``: every N-th of the film's own pictures, in the middle of the window, as MMAction2's
  SampleFrames(frame_interval=N, num_clips=1, test_mode=True) takes them.

A number may stand before it: ``frames=32``, ``frames=32:linspace``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from simdata.common.errors import UserError
from simdata.encoders.base import uniform_frames

Scheme = Literal["even", "linspace", "interval"]

MOST = 256  # frames of a window
SCHEMES: tuple[Scheme, ...] = ("even", "linspace", "interval")


@dataclass(frozen=True)
class Rule:
    """The rule by which pictures are chosen; ``interval`` is of that scheme alone."""

    scheme: Scheme
    interval: int = 0

    def __str__(self) -> str:
        return f"interval:{self.interval}" if self.scheme == "interval" else self.scheme

    def pictures(self, number: int, window: int) -> dict[str, Any]:
        """How a `Grid` asks for them: its ``rate`` and so on."""
        if self.scheme == "even":
            rate, phase, _ = uniform_frames(number, window)
            return {"rate": rate, "phase": phase}
        if self.scheme == "linspace":
            return {"rate": number, "choose": partial(linspace, number), "window": window}
        return {"rate": number, "choose": partial(centred, number, self.interval), "window": window}

    def places(self, number: int, window: int) -> np.ndarray:
        """(number,) int, on that grid, from the place of the window's first second on."""
        return uniform_frames(number, window)[2] if self.scheme == "even" else np.arange(number)

    def text(self, number: int, window: int) -> str:
        """What to do to find them again."""
        own = f"of the film's own n pictures that come on screen in the window [s, s + {window}) s: number"
        if self.scheme == "even":
            return f"even: on screen at s + (k + 1/2) * {window}/{number} s, k = 0 to {number - 1}"
        if self.scheme == "linspace":
            return f"linspace: {own}s np.linspace(0, n - 1, {number}, dtype=int)"
        extent = (number - 1) * self.interval + 1
        return f"{self}: {own} max(n - {extent}, 0) // 2 + {self.interval} * k, k = 0 to {number - 1}"


@dataclass(frozen=True)
class Frames:
    """What a user asks for: None is left to the model's publisher."""

    number: int | None = None
    rule: Rule | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.number, self.rule) if part is not None)


def parse(value: object) -> Frames | None:
    """A user's ``[NUMBER][:SCHEME]`` as `Frames`."""
    if value is None or isinstance(value, Frames):
        return value
    number, colon, scheme = str(value).partition(":")
    if not number.isdecimal():
        number, scheme = "", str(value)
    name, _, interval = scheme.partition(":")
    known = scheme in ("even", "linspace") or bool(number and not colon)
    if name == "interval":
        known = interval.isdecimal() and int(interval) > 0
    if not known or (number and not 1 <= int(number) <= MOST):
        raise ValueError(
            f"{str(value)!r} is none of even, linspace, interval:N, a number of frames up to {MOST}, or a "
            "number and one of them, as 16:linspace"
        )
    rule = next((Rule(one, int(interval or 0)) for one in SCHEMES if one == name), None)
    return Frames(int(number) if number else None, rule)


Setting = Annotated[
    Frames | None,
    BeforeValidator(parse),
    Field(
        description="[NUMBER:]even, linspace or interval:N; left out, as the weights' publisher takes them"
    ),
]


def linspace(number: int, count: int) -> np.ndarray:
    """(number,) int of ``count`` pictures."""
    return np.linspace(0, count - 1, number, dtype=int)


def centred(number: int, interval: int, count: int) -> np.ndarray:
    """(number,) int of ``count`` pictures.

    Raises
    ------
    UserError
        If there are not as many. MMAction2 would go on from the window's beginning again.
    """
    extent = (number - 1) * interval + 1
    if count < extent:
        most = (count - 1) // (number - 1) if number > 1 else 0
        other = f"interval:{most}, " if most else ""
        raise UserError(
            f"frames=interval:{interval}: {number} frames at that interval span {extent} pictures, and a "
            f"window has only {count}; take {other}even, linspace, or a longer window"
        )
    return (count - extent) // 2 + interval * np.arange(number)
