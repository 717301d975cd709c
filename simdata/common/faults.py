"""Whose fault an exception is: that of a source, which can be left out, or of the store, which cannot.

What reads a source may raise anything: numpy, FFmpeg and parsers stumble each in their own way over a broken
byte. Here, and nowhere else, that becomes one message with the source's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simdata.common.errors import StoreNotWritten, UserError

LONGEST = 300  # letters of a foreign message


@contextmanager
def of_source(path: Path) -> Iterator[None]:
    """Whatever is raised within is a fault of the file at ``path``, unless it is a UserError already."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: cannot be read ({in_words(error)}); is it whole? Get it again") from error


@contextmanager
def of_store(path: Path) -> Iterator[None]:
    """An OSError within is a fault of the place that is written to."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise StoreNotWritten(
            f"{path}: cannot be written ({in_words(error)}). What is done is kept: make room, or mend what "
            "is wrong there, and give the same command again"
        ) from error


def in_words(error: Exception) -> str:
    """Type and text of an exception, on one line."""
    text = " ".join(str(error).split())
    kind = type(error).__name__
    return f"{kind}: {text[:LONGEST]}" if text else kind
