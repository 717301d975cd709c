"""The words of a film from a transcript's file: a table, a TextGrid of Praat, or JSON of WhisperX."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simdata.common.errors import UserError
from simdata.common.faults import of_source
from simdata.common.fetched import check_content
from simdata.common.words import words_of
from simdata.transcripts.spoken import Spoken, check_times, timed
from simdata.transcripts.textgrid import read_textgrid
from simdata.transcripts.whisperx import read_whisperx
from simdata.transcripts.word_table import read_word_table

LARGEST = 50_000_000  # bytes: some days of speech
TABLES, GRIDS, JSON = (".tsv", ".csv", ".txt"), (".textgrid",), (".json",)
BEYOND = 1.0  # s behind a film's end at which a word may still begin


@dataclass(frozen=True)
class Transcript:
    """What a transcript says.

    Attributes
    ----------
    words : (n,) `simdata.common.words.WORD`, by onset
    untimed : how many of them had no times of their own
    """

    words: np.ndarray
    untimed: int


def read_transcript(path: Path) -> Transcript:
    """The words in a file, whose format its name's ending tells.

    Raises
    ------
    UserError
        If it cannot be read, is in no known format, or has times that no word can have.
    """
    with of_source(path):
        return _read(path)


def must_be_of_film(path: Path, words: np.ndarray, duration: float) -> None:
    """Raise a UserError if words begin behind the end of a film of ``duration`` s."""
    late = int((words["onset"] > duration + BEYOND).sum())
    if late:
        raise UserError(
            f"{path}: {late} of its {len(words)} words begin behind the end of the film, the last at "
            f"{words['onset'][-1]:.1f} s, and the film lasts {duration:.1f} s; is it of another?"
        )


def _read(path: Path) -> Transcript:
    ending, place = path.suffix.casefold(), str(path)
    if ending not in (*TABLES, *GRIDS, *JSON):
        raise UserError(
            f"{path}: is no transcript by its name; known are {', '.join(TABLES)}, .TextGrid, .json"
        )
    text = _text(path)
    if ending in JSON:
        rows, untimed = read_whisperx(text, place)
        return Transcript(words_of(rows), untimed)
    found = read_textgrid(text, place) if ending in GRIDS else read_word_table(text, place)
    check_times(found, place)
    return Transcript(words_of(_timed(found, place)), sum(_lacks_times(word) for word in found))


def _timed(words: list[Spoken], place: str) -> list[tuple[float, float, str]]:
    try:
        return list(timed(words))
    except ValueError:
        raise UserError(f"{place}: none of its {len(words)} words has a time") from None


def _lacks_times(word: Spoken) -> bool:
    return word.onset is None and word.offset is None


def _text(path: Path) -> str:
    """Of a file in UTF-8, or in UTF-16 with its mark, as Praat writes it."""
    check_content(path)
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise UserError(f"{path}: is larger than {LARGEST // 10**6} MB, which no transcript is")
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}: is neither UTF-8 nor UTF-16 with a byte order mark (line {line}, byte "
            f"{content[error.start]:#04x}); save it as UTF-8"
        ) from None
    if "\0" in text:
        raise UserError(f"{path}: holds zero bytes and is no text; save it as UTF-8")
    return text
