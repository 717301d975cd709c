"""Types of options of the command line."""

from __future__ import annotations

import re
from typing import Any

import click

from simtrain.protocol import WHOLE_MOVIE


class Pool(click.ParamType):
    """A number of candidates, 2 or more, or the whole movie."""

    name = "N|movie"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == WHOLE_MOVIE or (isinstance(value, int) and value >= 2):
            return value
        if not re.fullmatch(r"\d+", str(value)) or int(value) < 2:
            self.fail(
                f"{value!r} is neither a number of candidates (2 or more) nor {WHOLE_MOVIE!r}", param, ctx
            )
        return int(value)


class Lags(click.ParamType):
    """``A:B``: every second from A to B, both included; A may be negative."""

    name = "A:B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        if isinstance(value, range):
            return value
        bounds = re.fullmatch(r"(-?\d+):(-?\d+)", value)
        if bounds is None or int(bounds[1]) > int(bounds[2]):
            self.fail(f"{value!r} is not A:B with A no more than B, such as 0:12", param, ctx)
        return range(int(bounds[1]), int(bounds[2]) + 1)
