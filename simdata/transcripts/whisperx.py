"""JSON of WhisperX, and of Whisper with the times of words: ``segments[].words[]``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from simdata.common.errors import UserError
from simdata.transcripts.spoken import Spoken, check_times, timed

HOW = "run whisperx with alignment, or whisper with --word_timestamps True"


def read_whisperx(text: str, place: str) -> tuple[list[tuple[float, float, str]], int]:
    """(onset, offset, text) of each word, and how many had no times of their own.

    WhisperX writes no ``start`` and ``end`` for words that it could not align, such as numbers in figures:
    these lie between their neighbours in the segment (`simdata.transcripts.spoken`).

    Raises
    ------
    UserError
        If it is no such JSON, or its segments have no words.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: is no valid JSON ({error}); is it whole?") from None
    segments = content.get("segments") if isinstance(content, dict) else None
    if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
        raise UserError(f"{place}: has no list of segments, as WhisperX writes it; {HOW}")
    if segments and not any("words" in segment for segment in segments):
        raise UserError(f"{place}: its segments have no words with times; {HOW}")
    words: list[tuple[float, float, str]] = []
    untimed = 0
    for segment in segments:
        own = list(_words(segment, place))
        check_times(own, place)
        untimed += sum(word.onset is None and word.offset is None for word in own)
        begin, end = (_seconds(segment, key, place) for key in ("start", "end"))
        try:
            words += timed(own, begin, end)
        except ValueError:
            raise UserError(
                f"{place}: a segment and its words have no times ({own[0].text!r}, ...)"
            ) from None
    return words, untimed


def _words(segment: dict[str, Any], place: str) -> Iterator[Spoken]:
    words = segment.get("words", [])
    if not isinstance(words, list) or not all(isinstance(word, dict) for word in words):
        raise UserError(f"{place}: a segment's words are no list of objects, as WhisperX writes them")
    for word in words:
        text = word.get("word", word.get("text"))
        if not isinstance(text, str):
            raise UserError(f"{place}: a word has no text: {json.dumps(word)[:80]}")
        if text.strip():
            yield Spoken(_seconds(word, "start", place), _seconds(word, "end", place), text.strip())


def _seconds(item: dict[str, Any], key: str, place: str) -> float | None:
    value = item.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{place}: {key} is {json.dumps(value)[:40]}, and no number of seconds")
    return float(value) if math.isfinite(value) else None
