"""The weight-free encoder of words against counts by hand and a plain loop."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simdata import encoders
from simdata.common.errors import UserError
from simdata.common.words import words_of

# Two windows of 2 s with words, one without, one with one.
SAID = words_of(
    [(0.0, 0.5, "The"), (0.5, 1.5, "cat,"), (3.9, 4.5, "the"), (7.0, 7.0, "THE"), (7.5, 9.0, "end")]
)


def test_rows_are_what_the_words_of_a_window_have():
    encoder = encoders.create("words,window=2")
    rows = encoder.encode(SAID, np.array([0, 1, 3, 5, 7]))
    the, cat = (math.log10(1e6 * count / 5) for count in (3, 1))
    np.testing.assert_allclose(rows[0], [1, 3, (the + cat) / 2, 0.75], rtol=1e-6)
    np.testing.assert_allclose(rows[1], [0, 0, 0, 0.25])  # no word begins in [1, 3), and one is being said
    np.testing.assert_allclose(rows[2], [0.5, 3, the, 0.3], rtol=1e-6)
    np.testing.assert_array_equal(rows[3], 0)
    np.testing.assert_allclose(rows[4], [1, 3, (the + cat) / 2, 0.75], rtol=1e-6)
    assert encoder.parameters()["without_words"].startswith("0")
    assert (encoder.array, encoder.features) == ("text_words", 4)


def test_frequencies_of_a_list(tmp_path):
    path = tmp_path / "counts.tsv"
    path.write_text("the\t900\nCat\t60\ncat\t30\nother\t10\n")
    encoder = encoders.create(f"words,window=2,frequencies={path}")
    row = encoder.encode(SAID, np.array([7]))[0]
    # A word that is not in the list counts as if it were there once.
    assert row[2] == pytest.approx((math.log10(1e6 * 0.9) + math.log10(1e6 / 1000)) / 2)
    assert encoder.parameters()["frequencies"] == "counts.tsv"
    assert encoder.parameters()["frequencies_sha256"] != encoders.create("words").parameters().get("sha256")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no such file"),
        ("the\t1\ncat\n", r"line 2: 'cat' is no word and its count"),
        ("word\tcount\n", r"line 1: 'word\\tcount' is no word and its count"),
        ("the\t-1\n", "line 1"),
        ("the\tnan\n", "line 1"),
        ("the\t0\n", "has no words with counts"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path, text, message):
    path = tmp_path / "counts.tsv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        encoders.create(f"words,frequencies={path}")


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 12), st.sampled_from(["a", "bb", "ccc", "?"])),
        max_size=30,
    )
)
def test_speech_is_no_more_than_the_window_however_many_speak_at_once(words):
    said = words_of([(onset / 4, (onset + length) / 4, text) for onset, length, text in words])
    rows = encoders.create("words").encode(said, np.arange(9))
    for start, row in enumerate(rows):
        own = [w for w in said.tolist() if start <= w[0] < start + 3]
        assert row[0] == pytest.approx(len(own) / 3)
        assert 0 <= row[3] <= 1
        # A plain loop over hundredths of a second.
        ticks = start + (np.arange(300) + 0.5) / 100
        speech = [any(onset <= tick < offset for onset, offset, _ in said.tolist()) for tick in ticks]
        assert row[3] == pytest.approx(np.mean(speech))
    assert np.isfinite(rows).all()
