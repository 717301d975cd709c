"""Paths on the command lines of simdata and simtrain."""

from __future__ import annotations

from pathlib import Path

import click


class LocalPath(click.Path):
    """A path of this machine: a URL would become a folder of that name."""

    def convert(self, value, param, ctx) -> Path:
        if "://" in str(value):
            self.fail(f"{value!r} is a URL; give a path of this machine", param, ctx)
        return super().convert(value, param, ctx)


LOCAL = LocalPath(path_type=Path)
