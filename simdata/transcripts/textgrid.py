"""Praat's TextGrid files, long and short.

Praat reads both in the same way (its manual, "TextGrid file formats"): of a file it takes free-standing
numbers, texts in double quotes (a quote in a text is doubled) and flags in angle brackets, in their order. It
passes over everything else, such as ``xmin =`` and ``intervals [1]:``, and over comments from a free-standing
``!`` on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from simdata.common.errors import UserError
from simdata.transcripts.spoken import Spoken

TOKEN = re.compile(
    r'"(?P<text>(?:[^"]++|"")*+)"|<(?P<flag>\w+)>|(?P<comment>(?<!\S)!.*)'
    r"|(?<!\S)(?P<number>[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\S)"
)
WORDS = re.compile(r"(.*[\s_-])?words?", re.IGNORECASE)  # names of tiers: "words", "Anna - words"
# What the Montreal aligner, FAVE and annotators of breath and laughter put where no word is said.
NOT_WORDS = {"", "sp", "sil", "spn", "br", "lg", "ls", "ns", "cg", "sl", "sentence_start", "sentence_end"}


def read_textgrid(text: str, place: str) -> list[Spoken]:
    """The words of the interval tiers called ``word`` or ``words``, or of the only tier of intervals.

    Silence and noises, marked as `NOT_WORDS` with or without brackets, are left out.

    Raises
    ------
    UserError
        If it is no TextGrid, is cut short, or it cannot be told which tier has the words.
    """
    tiers = _tiers(_Tokens(text, place))
    chosen = [name for name, _ in tiers if WORDS.fullmatch(name.strip())]
    if not chosen and len(tiers) == 1:
        chosen = [tiers[0][0]]
    if not chosen:
        names = ", ".join(name for name, _ in tiers[:9]) or "none"
        raise UserError(f"{place}: which tier has the words? Name it words; tiers of intervals are: {names}")
    return [
        Spoken(begin, end, text)
        for name, intervals in tiers
        if name in chosen
        for begin, end, text in intervals
        if text.strip("{}<>[]()").casefold() not in NOT_WORDS
    ]


def _tiers(tokens: _Tokens) -> list[tuple[str, list[tuple[float, float, str]]]]:
    """Name and intervals (begin, end, text) of each tier of intervals."""
    if not tokens.text("its kind").startswith("ooTextFile") or tokens.text("its class") != "TextGrid":
        raise tokens.wrong('does not begin with File type = "ooTextFile" and Object class = "TextGrid"')
    tokens.number("its beginning"), tokens.number("its end")
    tiers = []
    for _ in range(tokens.count("the number of tiers") if tokens.flag() == "exists" else 0):
        kind, name = tokens.text("a tier's class"), tokens.text("a tier's name")
        tokens.number("a tier's beginning"), tokens.number("a tier's end")
        number = tokens.count(f"the size of tier {name}")
        if kind == "IntervalTier":
            tiers.append((name, [tokens.interval() for _ in range(number)]))
        elif kind == "TextTier":
            for _ in range(number):
                tokens.number("a point"), tokens.text("a point's mark")
        else:
            raise tokens.wrong(f"has a tier of class {kind!r}, which is neither IntervalTier nor TextTier")
    return tiers


class _Tokens:
    """What Praat takes of a file, one after the other."""

    def __init__(self, text: str, place: str) -> None:
        self._place = place
        self._coming: Iterator[re.Match[str]] = (
            found for found in TOKEN.finditer(text) if found.lastgroup != "comment"
        )

    def text(self, what: str) -> str:
        return self._next("text", what).replace('""', '"')

    def number(self, what: str) -> float:
        return float(self._next("number", what))

    def flag(self) -> str:
        return self._next("flag", "whether there are tiers")

    def count(self, what: str) -> int:
        number = self.number(what)
        if number < 0 or number != int(number):
            raise self.wrong(f"has {number:g} for {what}")
        return int(number)

    def interval(self) -> tuple[float, float, str]:
        times = self.number("an interval's beginning"), self.number("an interval's end")
        return *times, self.text("an interval's text").strip()

    def wrong(self, why: str) -> UserError:
        return UserError(
            f"{self._place}: is no TextGrid, or is damaged: it {why}. Save it in Praat as a text file"
        )

    def _next(self, kind: str, what: str) -> str:
        found = next(self._coming, None)
        if found is None:
            raise self.wrong(f"ends where {what} should be")
        if found.lastgroup != kind:
            raise self.wrong(f"has {found[0][:40]!r} where {what} should be")
        return found[kind]
