"""Transcripts as the programs write them: Praat's TextGrid in both forms, tables, and WhisperX's JSON."""

import json

LONG_TIER = """    item [{number}]:
        class = "IntervalTier"
        name = "{name}"
        xmin = 0
        xmax = {end}
        intervals: size = {size}
{intervals}"""
LONG_INTERVAL = """        intervals [{number}]:
            xmin = {begin}
            xmax = {stop}
            text = "{text}"
"""


def gapless(words, end):
    """Intervals from 0 to ``end`` with empty ones between the words, as in every TextGrid."""
    intervals, now = [], 0
    for begin, stop, text in words:
        if begin > now:
            intervals.append((now, begin, ""))
        intervals.append((begin, stop, text))
        now = stop
    return [*intervals, (now, end, "")] if now < end else intervals


def quoted(text):
    return text.replace('"', '""')


def long_textgrid(tiers, end):
    parts = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end}"]
    parts += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, words) in enumerate(tiers.items(), start=1):
        intervals = gapless(words, end)
        written = "".join(
            LONG_INTERVAL.format(number=place, begin=begin, stop=stop, text=quoted(text))
            for place, (begin, stop, text) in enumerate(intervals, start=1)
        )
        size = len(intervals)
        parts.append(
            LONG_TIER.format(number=number, name=quoted(name), end=end, size=size, intervals=written)
        )
    return "\n".join(parts)


def short_textgrid(tiers, end):
    parts = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "0", end, "<exists>", len(tiers)]
    for name, words in tiers.items():
        intervals = gapless(words, end)
        parts += ['"IntervalTier"', f'"{quoted(name)}"', 0, end, len(intervals)]
        for begin, stop, text in intervals:
            parts += [begin, stop, f'"{quoted(text)}"']
    return "\n".join(map(str, parts)) + "\n"


def table(words, header=("onset", "offset", "word"), separator="\t"):
    return "\n".join(separator.join(map(str, row)) for row in [header, *words]) + "\n"


def whisperx(words, end):
    """One segment; words whose times are None have no keys for them."""
    keys = ("start", "end", "word")
    items = [{k: v for k, v in zip(keys, row, strict=True) if v is not None} for row in words]
    return json.dumps({"segments": [{"start": 0, "end": end, "text": "", "words": items}], "language": "en"})
