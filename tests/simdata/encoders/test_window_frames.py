from fractions import Fraction

import av
import numpy as np
import pytest
from film_files import number_of, write_film
from hypothesis import given
from hypothesis import strategies as st

from simdata import encoders
from simdata.common.errors import UserError
from simdata.encoders import Grid, Settings, VideoEncoder, window_frames
from simdata.encoders.window_frames import Frames, Rule, parse
from simdata.films.blocks import stimulus_blocks


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("even", Frames(None, Rule("even"))),
        ("linspace", Frames(None, Rule("linspace"))),
        ("interval:4", Frames(None, Rule("interval", 4))),
        ("16", Frames(16)),
        (16, Frames(16)),
        ("32:linspace", Frames(32, Rule("linspace"))),
        ("8:interval:2", Frames(8, Rule("interval", 2))),
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


class SeenNumbers(VideoEncoder):
    """Each row is the numbers of the pictures taken of its window."""

    encoder, features = "numbers", 8

    def __init__(self, rule, window, stride):
        super().__init__(Settings(window=window, stride=stride))
        self.grid = Grid(size=(48, 80), **rule.pictures(8, window))

    def encode(self, span, starts):
        return np.array([number_of(picture) for picture in span], np.float32).reshape(-1, 8)[starts]

    def parameters(self):
        return {}


def seen(film, encoder, bounds):
    blocks = stimulus_blocks(film, [encoder], bounds)
    return np.concatenate([block.embeddings["video_numbers"] for block in blocks])


@pytest.mark.parametrize(
    "film", [{"rate": Fraction(30_000, 1001)}, {"uneven": True}, {"picture_start": 0.5}], ids=str
)
def test_the_films_own_pictures_whatever_their_times(tmp_path, film):
    """By PyAV's list of times; blocks, and where one begins to read, make no difference."""
    path = write_film(tmp_path / "film.mp4", seconds=7, **film)
    with av.open(str(path)) as container:
        shown = [(number_of(f.to_ndarray(format="rgb24")), f.time) for f in container.decode(video=0)]
    numbers, times = (np.array(column) for column in zip(*shown, strict=True))
    times = times - min(times[0], 0)  # an early picture begins the film
    linspace, interval = Rule("linspace"), Rule("interval", 2)
    for rule, window, stride in ((linspace, 1, 1), (linspace, 3, 2), (interval, 3, 1)):
        encoder = SeenNumbers(rule, window, stride)
        rows = seen(path, encoder, [(0, 2), (2, 4), (4, 7)])
        np.testing.assert_array_equal(seen(path, encoder, [(4, 7)]), rows[4:])
        for second in np.flatnonzero(np.isfinite(rows).all(axis=1)):
            inside = numbers[(times > second - 1e-3) & (times < second + window - 1e-3)]
            chosen = rule.pictures(8, window)["choose"](len(inside))
            np.testing.assert_array_equal(rows[second], inside[chosen])
        assert np.isfinite(rows[::stride][: (7 - window) // stride]).all()
