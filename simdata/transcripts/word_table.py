"""Tables of words: a word a row, with headers by their usual names; and tables with a row for each TR.

| column | may be called |
| --- | --- |
| the word | word, words, text, token, label |
| when it begins, s | onset, start, begin, start_time, onset_s, tmin, xmin |
| when it ends, s | offset, end, stop, end_time, offset_s, tmax, xmax |
| or for how long it is said, s | duration, dur |

Cells lie between tabs, or if the first line has none, between commas. ``n/a`` and empty cells are no time.
Two kinds of tables are known without these: those of Gentle as the Narratives data set has them, without a
header, (word, aligned word, onset, offset); and those of Algonauts 2025, where a row of ``words_per_tr``,
``onsets_per_tr`` and ``durations_per_tr`` has lists.
"""

from __future__ import annotations

import ast
import csv
import io
import math
from collections.abc import Iterator, Sequence

from simdata.common.errors import UserError
from simdata.transcripts.spoken import Spoken

WORD = ("word", "words", "text", "token", "label")
ONSET = ("onset", "start", "begin", "start_time", "onset_s", "tmin", "xmin")
OFFSET = ("offset", "end", "stop", "end_time", "offset_s", "tmax", "xmax")
DURATION = ("duration", "dur")
PER_TR = ("words_per_tr", "onsets_per_tr", "durations_per_tr")
NO_VALUE = {"", "n/a", "na", "nan", "none", "null"}
GENTLE = 4  # columns


def read_word_table(text: str, place: str) -> list[Spoken]:
    """The words of a table, in the order of its rows.

    Raises
    ------
    UserError
        If columns are missing, or a row has no fitting values: names the line.
    """
    rows = list(_rows(text, place))
    if not rows:
        raise UserError(f"{place}: has no rows; {_wanted()}")
    (_, header), *others = rows
    names = [cell.strip().casefold() for cell in header]
    if set(PER_TR) <= set(names):
        columns = [names.index(name) for name in PER_TR]
        return [word for line, row in others for word in _of_tr(row, columns, f"{place}, line {line}")]
    if not set(names) & {*ONSET, *OFFSET} and _is_gentle(header):
        return [Spoken(*_gentle(row, f"{place}, line {line}")) for line, row in rows if row[0].strip()]
    word, onset, offset, duration = (_column(names, known) for known in (WORD, ONSET, OFFSET, DURATION))
    if word is None or onset is None:
        raise UserError(f"{place}: has the columns {', '.join(header)[:200]}; {_wanted()}")
    found = []
    for line, row in others:
        where = f"{place}, line {line}"
        if len(row) != len(header):
            raise UserError(f"{where}: has {len(row)} cells, and the header has {len(header)}")
        begin = _seconds(row[onset], where)
        end = None if offset is None else _seconds(row[offset], where)
        if end is None and duration is not None and begin is not None:
            length = _seconds(row[duration], where)
            end = None if length is None else begin + length
        if (text := row[word].strip()) and text.casefold() != "n/a":
            found.append(Spoken(begin, end, text))
    return found


def _rows(text: str, place: str) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of those that are not empty."""
    first = text.lstrip("\r\n").partition("\n")[0]
    options = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if "\t" in first else {"delimiter": ","}
    reader = csv.reader(io.StringIO(text, newline=""), **options)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{place}, line {reader.line_num}: cannot be read as a table ({error})") from None


def _column(names: Sequence[str], known: Sequence[str]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)


def _seconds(cell: str, where: str) -> float | None:
    if cell.strip().casefold() in NO_VALUE:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where}: {cell[:40]!r} is no number of seconds")
    return value


def _is_gentle(row: Sequence[str]) -> bool:
    """Whether a first row is one of values already: two words, and two times or none."""
    if len(row) != GENTLE:
        return False
    try:
        return bool([_seconds(cell, "") for cell in row[2:]])
    except UserError:
        return False


def _gentle(row: Sequence[str], where: str) -> tuple[float | None, float | None, str]:
    if len(row) != GENTLE:
        raise UserError(f"{where}: has {len(row)} cells, not word, aligned word, onset and offset")
    return _seconds(row[2], where), _seconds(row[3], where), row[0].strip()


def _of_tr(row: Sequence[str], columns: Sequence[int], where: str) -> list[Spoken]:
    try:
        words, onsets, lengths = (ast.literal_eval(row[column] or "[]") for column in columns)
        return [
            Spoken(float(onset), float(onset) + float(length), str(word).strip())
            for word, onset, length in zip(words, onsets, lengths, strict=True)
            if str(word).strip()
        ]
    except (ValueError, SyntaxError, TypeError, IndexError, MemoryError, RecursionError) as error:
        reason = " ".join(str(error).split())[:80]
        raise UserError(f"{where}: {', '.join(PER_TR)} are no lists of one length ({reason})") from None


def _wanted() -> str:
    return (
        "a table of words has the columns onset (or start), offset (or end) or duration, and word (or text)"
    )
