"""Formats of BOLD, by what a file's name ends in.

A format is a function, or a class, that takes a file's path and returns a `ReadsBold`; one whose hemispheres
are files of their own takes the left one's and the right one's. It is registered under the entry point group
``simdata.bold_formats``, by the ending of the names that it reads; ours as those of others:

    [options.entry_points]
    simdata.bold_formats =
        .npz = my_package.my_module:open_npz
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from simdata.bold.opened_run import CheckedRun, Stated
from simdata.bold.sidecar import Sidecar
from simdata.common.errors import UserError
from simdata.common.registry import Registry

FORMATS = Registry("simdata.bold_formats", "BOLD format")


def endings() -> list[str]:
    """The endings of names that some format reads, such as ``.dtseries.nii``."""
    return FORMATS.names()


def open_run(*files: Path, tr: float | None = None, mesh: str | None = None, inside: str = "") -> CheckedRun:
    """Open a run by the format of its name: that with the longest ending, in upper or lower case.

    Nothing but the header is read, and the JSON beside a BIDS derivative, which may know its start better.

    Parameters
    ----------
    files : one, or that of the left and that of the right hemisphere
    tr, mesh : what the catalog says, for files that do not say their TR (s), or on which mesh they are
    inside : name of the array in a file that has several

    Raises
    ------
    UserError
        If no format reads files of this name, it cannot be imported or does not give what it must
        (`simdata.bold.opened_run.CheckedRun`), or a file is damaged.

    Examples
    --------
    >>> run = open_run(Path("100610_MOVIE1.dtseries.nii"))
    >>> run.volumes, run.tr, run.vertices["L"].shape
    (921, 1.0, (29696,))
    """
    path = files[0]
    ending = _ending(path)
    if any(_ending(other) != ending for other in files):
        raise UserError(f"{path}: is of another format than {files[-1].name}; both hemispheres need one")
    try:
        name, opener = FORMATS.place(ending), FORMATS.load(ending)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if len(files) > 1 and not _takes_two(opener):
        raise UserError(
            f"{path}: has both hemispheres in one file, as BOLD format {name} reads it; leave {{hemisphere}} "
            "out of the bold pattern"
        )
    sidecar = Sidecar.beside(path)
    said = sidecar.tr if sidecar and sidecar.tr else tr
    named = {"inside": inside} if inside else {}
    run = CheckedRun.of(path, lambda left: opener(left, *files[1:], **named), name, Stated(said, mesh))
    start = sidecar.start(run.tr) if sidecar else None
    return run if start is None else replace(run, start=start)


def _takes_two(opener: Callable[..., object]) -> bool:
    try:
        inspect.signature(opener).bind("left", "right")
    except TypeError:
        return False
    return True


def _ending(path: Path) -> str:
    known = endings()
    claimed = [ending for ending in known if path.name.lower().endswith(ending.lower())]
    if not claimed:
        names = ", ".join(known) or "none, not even ours: install simdata again with pip"
        raise UserError(f"{path}: no BOLD format reads files of this name; known endings are {names}")
    return max(claimed, key=len)
