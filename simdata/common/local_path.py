"""Paths of this machine, on the command lines of simdata and simtrain and in calls from Python."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path

import click

from simdata.common.errors import UserError


class LocalPath(click.Path):
    """A path of this machine: a URL would become a folder of that name."""

    def convert(
        self, value: str | PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        if is_url(value):
            self.fail(f"{value!r} is a URL; give a path of this machine", param, ctx)
        return Path(os.fsdecode(super().convert(value, param, ctx)))


LOCAL = LocalPath()


def local(path: str | PathLike[str], parameter: str) -> Path:
    """A path that a parameter is given from Python; ``parameter`` is its name, as the message has it.

    Raises
    ------
    UserError
        If it is a URL.
    """
    if is_url(path):
        raise UserError(f"{parameter}: {str(path)!r} is a URL; give a path of this machine")
    return Path(path)


def is_url(path: str | PathLike[str]) -> bool:
    return "://" in str(path)
