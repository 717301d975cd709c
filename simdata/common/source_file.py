"""A source file, opened: decompressed if its name says so, and what goes wrong in it one message."""

from __future__ import annotations

import gzip
import io
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simdata.common.errors import UserError

COMPRESSED = (".gz", ".mgz")
AGAIN = "download it again"

Binary = gzip.GzipFile | io.BufferedReader


def is_compressed(path: Path) -> bool:
    return path.suffix in COMPRESSED


@contextmanager
def opened(path: Path) -> Iterator[Binary]:
    """A source, decompressed if its name says so; whatever reading it raises becomes a UserError."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise UserError(f"{path}: is no file, but a folder or device")
        with gzip.open(path) if is_compressed(path) else path.open("rb") as file:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: cannot be decompressed ({error}); {AGAIN}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
