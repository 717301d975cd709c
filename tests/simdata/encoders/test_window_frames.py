import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simdata import encoders
from simdata.encoders import window_frames
from simdata.encoders.window_frames import Frames, parse
from simdata.errors import UserError


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("even", Frames(None, "even")),
        ("linspace", Frames(None, "linspace")),
        ("interval:4", Frames(None, "interval", 4)),
        ("16", Frames(16)),
        (16, Frames(16)),
        ("32:linspace", Frames(32, "linspace")),
        ("8:interval:2", Frames(8, "interval", 2)),
    ],
)
def test_what_a_user_writes(text, frames):
    assert parse(text) == frames
    assert parse(str(frames)) == frames


NONSENSE = ["odd", "interval", "interval:0", "interval:-1", "0", "1000", "16:", "even:4", ""]


@pytest.mark.parametrize("text", NONSENSE)
def test_what_makes_no_sense_is_one_message(text):
    with pytest.raises(UserError, match=r"frames: .*is none of even, linspace, interval:N") as caught:
        encoders.create(f"videomae,frames={text}")
    assert len(str(caught.value).splitlines()) == 1


@given(number=st.integers(1, 64), interval=st.integers(1, 8), count=st.integers(1, 300))
def test_intervals_are_mmactions(number, interval, count):
    """SampleFrames(number, interval, num_clips=1, test_mode=True) of mmaction.datasets.transforms."""
    length = (number - 1) * interval + 1
    if count < length:
        with pytest.raises(UserError, match=f"span {length} pictures, and a window has only {count}"):
            window_frames.centred(number, interval, count)
        return
    offset = np.array([max(count - length, 0) // 2])
    expected = np.mod(offset[:, None] + np.arange(number)[None, :] * interval, count).ravel()
    np.testing.assert_array_equal(window_frames.centred(number, interval, count), expected)


def test_of_a_window_of_3_s_at_25_pictures_a_second():
    np.testing.assert_array_equal(window_frames.centred(16, 4, 75), np.arange(7, 68, 4))
    line = window_frames.linspace(16, 75)
    assert (line[0], line[1], line[-1]) == (0, 4, 74)  # 4.93 is cut, as transformers' pipeline does
