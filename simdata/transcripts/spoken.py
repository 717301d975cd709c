"""Words as a file has them, of which some have no times, and their way to `simdata.common.words.WORD`.

Aligners leave out the times of words that they did not find in the sound. Such words are said between their
neighbours: they divide the time from the end of the word before to the beginning of the next evenly, and at
the beginning or end of a sentence whose times are known, the time from or to there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from simdata.common.errors import UserError

MOST_SECONDS = 1e6  # of a film; what is later is no time


class Spoken(NamedTuple):
    """A word and its times in s, None where they are not known."""

    onset: float | None
    offset: float | None
    text: str


def check_times(words: Sequence[Spoken], place: str) -> None:
    """Raise a UserError for times that no word can have; ``place`` says where the words are from."""
    for number, (onset, offset, text) in enumerate(words, start=1):
        what = f"{place}: word {number} ({text[:40]!r})"
        for time in (onset, offset):
            if time is not None and not 0 <= time < MOST_SECONDS:
                raise UserError(f"{what} is at {time:g} s: times are s from the beginning of the film")
        if onset is not None and offset is not None and offset < onset:
            raise UserError(f"{what} begins at {onset:g} s and ends before, at {offset:g} s")


def timed(
    words: Sequence[Spoken], begin: float | None = None, end: float | None = None
) -> Iterator[tuple[float, float, str]]:
    """(onset, offset, text) of consecutive words, in their order; a word with one time has it for both.

    Parameters
    ----------
    begin, end : s, when the sentence begins and ends, if that is known

    Raises
    ------
    ValueError
        If nothing at all is known of the time of a word.
    """
    groups = [list(group) for _, group in groupby(words, key=_has_time)]
    known = [words_of_group if _has_time(words_of_group[0]) else None for words_of_group in groups]
    for place, group in enumerate(groups):
        if known[place] is not None:
            yield from (_with_both(word) for word in group)
            continue
        before = _with_both(groups[place - 1][-1])[1] if place else begin
        after = _with_both(groups[place + 1][0])[0] if place + 1 < len(groups) else end
        if before is None and after is None:
            raise ValueError("no word has a time")
        first = before if before is not None else after
        assert first is not None
        step = max((after if after is not None else first) - first, 0.0) / len(group)
        for number, word in enumerate(group):
            yield first + number * step, first + (number + 1) * step, word.text


def _has_time(word: Spoken) -> bool:
    return word.onset is not None or word.offset is not None


def _with_both(word: Spoken) -> tuple[float, float, str]:
    onset = word.onset if word.onset is not None else word.offset
    offset = word.offset if word.offset is not None else word.onset
    assert onset is not None
    assert offset is not None
    return onset, offset, word.text
