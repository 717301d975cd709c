"""Files written by the formats' specifications, read back; and files that no program would write."""

import json
import re
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transcript_text import long_textgrid, short_textgrid, table, whisperx

from simdata.common.errors import UserError
from simdata.transcripts.transcript_files import must_be_of_film, read_transcript

WORDS = [(0.5, 0.75, "Now"), (0.75, 1.25, "is"), (3.0, 3.5, "thé"), (3.5, 3.5, "time,")]
END = 5


def write(folder, name, text, encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return path


def words_in(path):
    return [tuple(word) for word in read_transcript(path).words.tolist()]


SAME = {
    "long.TextGrid": long_textgrid({"phones": [(0.5, 0.6, "N")], "words": WORDS}, END),
    "short.TextGrid": short_textgrid({"words": WORDS}, END),
    "UPPER.TEXTGRID": short_textgrid({"phones": [(0, 1, "N")], "Word": WORDS}, END),
    "a.tsv": table(WORDS),
    "b.csv": table(
        [(text, begin, stop) for begin, stop, text in WORDS if "," not in text], ("Word", "START", "End"), ","
    ),
    "c.tsv": table(
        [(begin, stop - begin, text) for begin, stop, text in WORDS], ("onset", "duration", "text")
    ),
    "d.json": whisperx(WORDS, END),
    "e.txt": table([("x", *word) for word in WORDS], ("speaker", "begin", "stop", "token")),
}


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be-sig"])
def test_every_format_gives_the_same_words(tmp_path, name, encoding):
    text = SAME[name]
    content = b"\xfe\xff" + text.encode("utf-16-be") if encoding == "utf-16-be-sig" else text.encode(encoding)
    expected = [word for word in WORDS if name != "b.csv" or "," not in word[2]]
    assert words_in(write(tmp_path, name, content)) == expected


def test_lines_of_windows_are_lines(tmp_path):
    for name, text in SAME.items():
        expected = words_in(write(tmp_path, name, text))
        assert words_in(write(tmp_path, name, text.replace("\n", "\r\n"))) == expected


def test_what_is_no_word_is_left_out(tmp_path):
    marks = ["sp", "{LG}", "<sil>", "spn", "{NS}", "SIL", "sentence_start"]
    words = [(number, number + 0.5, mark) for number, mark in enumerate(marks)]
    path = write(tmp_path, "a.TextGrid", long_textgrid({"words": [*words, (9, 9.5, "sport")]}, 10))
    assert words_in(path) == [(9, 9.5, "sport")]


def test_speakers_have_tiers_of_their_own_and_talk_at_once(tmp_path):
    tiers = {"Anna - words": [(0, 2, "one")], "Anna - phones": [(0, 1, "w")], "Bert - words": [(1, 3, "two")]}
    assert words_in(write(tmp_path, "a.TextGrid", long_textgrid(tiers, 4))) == [(0, 2, "one"), (1, 3, "two")]


def test_a_comment_a_point_tier_and_numbers_in_words(tmp_path):
    text = short_textgrid({"words": [(0, 1, 'the "7" 8'), (1, 2, "b!")]}, 3).replace(
        "<exists>\n1", "<exists> ! 5 tiers\n2"
    )
    text += '"TextTier"\n"points"\n0\n3\n1\n0.5\n"here"\n'
    assert words_in(write(tmp_path, "a.TextGrid", text)) == [(0, 1, 'the "7" 8'), (1, 2, "b!")]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([(0, 1, "a"), (None, None, "7"), (None, None, "8"), (3, 4, "b")], [(0, 1), (1, 2), (2, 3), (3, 4)]),
        ([(None, None, "7"), (1, 2, "a")], [(0, 1), (1, 2)]),
        ([(1, 2, "a"), (None, None, "7")], [(1, 2), (2, 5)]),
        ([(None, None, "7")], [(0, 5)]),
        ([(1, 2, "a"), (None, None, "7"), (1.5, 3, "b")], [(1, 2), (2, 2), (1.5, 3)]),
        ([(1, None, "a"), (None, 3, "b")], [(1, 1), (3, 3)]),
    ],
)
def test_words_that_whisperx_could_not_align_lie_between_their_neighbours(tmp_path, words, expected):
    found = read_transcript(write(tmp_path, "a.json", whisperx(words, 5)))
    assert [(onset, offset) for onset, offset, _ in found.words.tolist()] == sorted(expected)
    assert found.untimed == sum(word[:2] == (None, None) for word in words)


def test_gentles_table_without_a_header(tmp_path):
    text = 'I,i,0.5,0.75\n"well, then",<unk>,,\ngo,go,2,2.5\n'
    expected = [(0.5, 0.75, "I"), (0.75, 2, "well, then"), (2, 2.5, "go")]
    assert words_in(write(tmp_path, "align.csv", text)) == expected


def test_a_table_with_a_row_for_each_tr(tmp_path):
    header = "text_per_tr\twords_per_tr\tonsets_per_tr\tdurations_per_tr\n"
    rows = "\t\t\t\nwell I\t['well', \"I'm\"]\t[1.5, 2.0]\t[0.5, 0.25]\n\t[]\t[]\t[]\n"
    assert words_in(write(tmp_path, "a.tsv", header + rows)) == [(1.5, 2, "well"), (2, 2.25, "I'm")]
    with pytest.raises(UserError, match=r"a\.tsv, line 2: words_per_tr, .* are no lists of one length"):
        read_transcript(write(tmp_path, "a.tsv", header + "x\t['x']\t[1, 2]\t[1]\n"))


TABLE, GRID = "onset\toffset\tword\n", short_textgrid({"words": WORDS}, END)
MISTAKES = {
    "a.srt": [("1\n", "is no transcript by its name; known are .tsv")],
    "a.tsv": [
        ("", "is empty"),
        ("\n\n", "has no rows; a table of words has the columns"),
        ("onset\tduration\n1\t2\n", "has the columns onset, duration; a table of words has"),
        (TABLE + "1\t2\n", "line 2: has 2 cells, and the header has 3"),
        (TABLE + "soon\t2\ta\n", "line 2: 'soon' is no number of seconds"),
        (TABLE + "inf\t2\ta\n", "line 2: 'inf' is no number of seconds"),
        (TABLE + "-1\t2\ta\n", "word 1 ('a') is at -1 s: times are s from the beginning"),
        (TABLE + "3\t2\ta\n", "word 1 ('a') begins at 3 s and ends before, at 2 s"),
        (TABLE + "n/a\tn/a\ta\n", "none of its 1 words has a time"),
        (TABLE.encode() + b"1\t2\t\xe9\n", "is neither UTF-8 nor UTF-16 with a byte order mark (line 2"),
        (TABLE.encode("utf-16-le"), "holds zero bytes and is no text"),
    ],
    "a.TextGrid": [
        (b"ooBinaryFile\x08TextGrid", "is no TextGrid, or is damaged"),
        (long_textgrid({"phones": [], "tones": []}, 1), "tiers of intervals are: phones, tones"),
        (long_textgrid({"words": WORDS}, END)[:-60], "ends where an interval's"),
        (GRID.replace("IntervalTier", "Tier"), "a tier of class 'Tier'"),
        (GRID.replace("\n7\n", "\n999999999\n"), "ends where an interval's"),
        (GRID.replace("\n7\n", "\n-6\n"), "has -6 for the size of tier words"),
    ],
    "a.json": [
        ('{"segments": [', "is no valid JSON"),
        ("[" * 100_000, "is no valid JSON"),
        ("[]", "has no list of segments, as WhisperX writes it"),
        ('{"segments": [{"start": 0, "text": "a"}]}', "its segments have no words with times"),
        ('{"segments": [{"words": [{"word": "a"}]}]}', "a segment and its words have no times ('a'"),
        ('{"segments": [{"words": [{"word": "a", "start": "1"}]}]}', 'start is "1", and no number'),
        ('{"segments": [{"words": [{"start": 1}]}]}', "a word has no text"),
    ],
}


@pytest.mark.parametrize(
    ("name", "text", "message"), [(name, *one) for name, those in MISTAKES.items() for one in those]
)
def test_what_cannot_be_read_is_one_message(tmp_path, name, text, message):
    path = write(tmp_path, name, text)
    with pytest.raises(UserError, match=re.escape(message)) as found:
        read_transcript(path)
    assert str(path) in str(found.value)


def test_no_words_at_all_is_a_silent_film(tmp_path):
    for name, text in (("a.tsv", "onset\toffset\tword\n"), ("a.json", '{"segments": []}')):
        assert len(read_transcript(write(tmp_path, name, text)).words) == 0
    assert len(read_transcript(write(tmp_path, "a.TextGrid", long_textgrid({"words": []}, 1))).words) == 0


def test_words_behind_the_film_are_of_another(tmp_path):
    path = write(tmp_path, "a.tsv", table(WORDS))
    words = read_transcript(path).words
    must_be_of_film(path, words, 2.5)
    with pytest.raises(UserError, match=r"a\.tsv: 2 of its 4 words begin behind the end of the film"):
        must_be_of_film(path, words, 1.9)


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=6)


@st.composite
def spoken(draw):
    """Words one after the other, of which no one looks like silence."""
    times = sorted(draw(st.lists(st.integers(0, 4000), min_size=2, max_size=12, unique=True)))
    pairs = list(zip(times[::2], times[1::2], strict=False))
    return [(a / 8, b / 8, f"w{draw(TEXTS)}") for a, b in pairs]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=spoken(), encoding=st.sampled_from(["utf-8", "utf-16"]))
def test_whatever_is_written_is_read_back(tmp_path, words, encoding):
    written = {
        "long.TextGrid": long_textgrid({"words": words}, 501),
        "short.TextGrid": short_textgrid({"words": words}, 501),
        "a.json": whisperx(words, 501),
        "a.tsv": table(words),
    }
    for name, text in written.items():
        assert words_in(write(tmp_path, name, text, encoding)) == words


@pytest.mark.parametrize("name", SAME)
def test_damage_is_one_message_or_words(tmp_path, name):
    rng, whole = np.random.default_rng(0), SAME[name].encode()
    for _ in range(150):
        content = bytearray(whole)
        place, length = int(rng.integers(len(content))), int(rng.integers(1, 12))
        content[place : place + length] = rng.bytes(int(rng.integers(12)))
        with suppress(UserError):
            words = read_transcript(
                write(tmp_path, name, bytes(content[: int(rng.integers(1, len(content)))]))
            ).words
            assert (words["offset"] >= words["onset"]).all()
            assert (np.diff(words["onset"]) >= 0).all()


def test_long_files_are_read_in_linear_time(tmp_path):
    """Quotes that never close, and many words."""
    with pytest.raises(UserError, match="is no TextGrid"):
        read_transcript(write(tmp_path, "a.TextGrid", '"' + 'a""' * 500_000))
    words = [(number, number + 1, "w") for number in range(50_000)]
    assert (
        len(read_transcript(write(tmp_path, "b.TextGrid", short_textgrid({"words": words}, 50_000))).words)
        == 50_000
    )
    assert json.loads(whisperx(words, 50_000))
    assert len(read_transcript(write(tmp_path, "b.json", whisperx(words, 50_000))).words) == 50_000
