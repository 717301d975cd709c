"""Whether a file can be read at all: many data sets come as links whose content is elsewhere."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from simdata.common.errors import UserError

ANNEX_OBJECTS = "annex/objects"  # in the target of git-annex's links, also those of submodules
ANNEX_POINTER = b"/annex/objects/"
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
LARGEST_POINTER = 32 * 2**10  # bytes; git-annex's own limit


class NotFetched(UserError):
    """A file of which only the name is here."""


def check_content(path: Path, *, may_be_empty: bool = False) -> None:
    """Check that there is a file with content, and that it can be opened.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``, not even a link.
    UserError
        If there is something that cannot be read: as `NotFetched` if the content is elsewhere.
    """
    try:
        _check(path, may_be_empty)
    except (FileNotFoundError, NotADirectoryError):
        if link := _link_to_nowhere(path):
            raise _not_there(path, link) from None
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({_reason(error)})") from None


def is_there(path: Path) -> bool:
    """Whether there is something at a path: a file, a folder, or a link to somewhere."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return _link_to_nowhere(path) is not None
    except OSError:  # something is, and cannot be looked at
        return True
    return True


def _check(path: Path, may_be_empty: bool) -> None:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise UserError(f"{path}: is a folder, where a file is expected")
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise UserError(f"{path}: is no regular file")
    if status.st_size == 0 and not may_be_empty:
        raise UserError(f"{path}: is empty (0 bytes); was it downloaded?")
    with path.open("rb") as file:
        start = file.read(len(LFS_POINTER)) if status.st_size <= LARGEST_POINTER else b""
    if start.startswith(ANNEX_POINTER):
        raise NotFetched(f"{path}: content not fetched (a pointer of git-annex); {_annex_advice(path)}")
    if start == LFS_POINTER:
        raise NotFetched(
            f"{path}: content not fetched (a pointer of Git LFS); run `git lfs pull --include {path.name}` "
            "in its repository"
        )


def _link_to_nowhere(path: Path) -> Path | None:
    """The link on the way to a path, or the path itself, that leads to nothing."""
    for place in (path, *path.parents):
        try:
            if place.is_symlink():
                return place if not place.exists() else None
            place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return None
        return None
    return None


def _not_there(path: Path, link: Path) -> UserError:
    target = os.readlink(link)
    if ANNEX_OBJECTS in target:
        return NotFetched(f"{path}: content not fetched (a link of git-annex); {_annex_advice(path)}")
    where = "a link" if link == path else f"{link} is a link"
    return NotFetched(
        f"{path}: content not fetched ({where} to {target}, which is not there); mend the link, or copy the "
        "file here"
    )


def _annex_advice(path: Path) -> str:
    return f"run `datalad get {path}` (or `git annex get {path}`)"


def _reason(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "its links lead in a circle"
    return (error.strerror or str(error)).lower()
