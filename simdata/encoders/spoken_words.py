"""How many words are said, how long and how common they are: of a transcript, without any weights."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from simdata.common.checksum import sha256
from simdata.common.errors import UserError
from simdata.common.fetched import check_content
from simdata.encoders.base import Settings, TextEncoder

LARGEST = 50_000_000  # bytes of a list of frequencies
OUTER = re.compile(r"^\W+|\W+$")  # punctuation around a word


class SpokenWordsSettings(Settings):
    """``frequencies`` is a list of words with their counts; None counts the film's own words."""

    frequencies: Annotated[
        Path | None,
        Field(description="a table of word and count, without a header; left out, the film's own words"),
    ] = None


class SpokenWords(TextEncoder):
    """How the words are that begin in a window, and how much of it is speech: (rows, 4) float32.

    Words a second; the mean number of their letters; the mean log10 of their frequency, as how many of a
    million words they are, all 0 where no word begins; and the share of the window in which any word is being
    said. A word that is not in the list of frequencies counts as if it were there once. Case and punctuation
    around a word don't count.
    """

    encoder = "words"
    summary = "word rate, letters, log frequency, share of speech; no weights"
    features = 4
    Settings = SpokenWordsSettings
    settings: SpokenWordsSettings

    def __init__(self, settings: SpokenWordsSettings | None = None) -> None:
        super().__init__(settings)
        self._counts: Mapping[str, float] | None = None
        self._source: dict[str, str] = {"frequencies": "of the film's own words"}
        if self.settings.frequencies is not None:
            path = self.settings.frequencies.expanduser()
            self._counts = read_frequencies(path)
            self._source = {"frequencies": path.name, "frequencies_sha256": sha256(path)}

    def encode(self, span: np.ndarray, starts: np.ndarray) -> np.ndarray:
        plain = [plain_word(text) for text in span["text"]]
        logs = log_frequency(Counter(plain) if self._counts is None else self._counts)
        letters = np.array([sum(map(str.isalnum, word)) for word in plain], float)
        frequencies = np.array([logs(word) for word in plain], float)
        rows = np.zeros((len(starts), self.features), np.float32)
        spoken = _without_overlaps(span["onset"], span["offset"])
        for row, start in zip(rows, starts.tolist(), strict=True):
            first, last = np.searchsorted(span["onset"], [start, start + self.window])
            if first < last:
                row[0] = (last - first) / self.window
                row[1], row[2] = letters[first:last].mean(), frequencies[first:last].mean()
            row[3] = np.diff(np.clip(spoken, start, start + self.window)).sum() / self.window
        return rows

    def parameters(self) -> dict[str, Any]:
        return {
            "features": [
                "words a second",
                "letters of a word",
                "log10 frequency per million",
                "share of speech",
            ],
            "words_of_a_window": "those that begin in it",
            "without_words": "0, but for the share of speech",
            "unknown_words": "counted once",
            **self._source,
        }


def plain_word(text: str) -> str:
    """A word in lower case, without punctuation around it."""
    return OUTER.sub("", text).casefold()


def log_frequency(counts: Mapping[str, float]) -> Callable[[str], float]:
    """log10 of how many of a million words a word is, where one that is not counted counts once."""
    total = sum(counts.values()) or 1.0
    return lambda word: math.log10(1e6 * max(counts.get(word, 0.0), 1.0) / total)


def read_frequencies(path: Path) -> dict[str, float]:
    """Word -> count, of a table whose rows have a word and a count, with tabs or commas between.

    Raises
    ------
    UserError
        If it cannot be read, or a row has no count: names the line.
    """
    try:
        check_content(path)
    except FileNotFoundError:
        raise UserError(f"words: frequencies={path}: there is no such file") from None
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path}: is larger than {LARGEST // 10**6} MB, which no list of words is")
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8; save it as UTF-8") from None
    counts: dict[str, float] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        cells = line.split("\t") if "\t" in line else next(csv.reader([line]))
        try:
            word, count = cells[0], float(cells[1])
        except (IndexError, ValueError):
            count = math.nan
        if not 0 <= count < math.inf:
            raise UserError(f"{path}, line {number}: {line[:60]!r} is no word and its count")
        counts[plain_word(word)] = counts.get(plain_word(word), 0.0) + count
    if not sum(counts.values()):
        raise UserError(f"{path}: has no words with counts")
    return counts


def _without_overlaps(onset: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """(n, 2): stretches of speech in which nothing is counted twice; ``onset`` ascends."""
    until = np.maximum.accumulate(np.concatenate([[-np.inf], offset]))[:-1]
    begin = np.maximum(onset, until)
    return np.stack([begin, np.maximum(offset, begin)], axis=1)
