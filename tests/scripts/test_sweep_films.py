"""The sweep over films tells right, refused and wrong pictures apart."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import sweep_films

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the program ffmpeg")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return sweep_films.make(tmp_path_factory.mktemp("films") / "film.mp4", sweep_films.X264)


def test_what_ffmpeg_shows_is_right(film):
    assert sweep_films.judge(film)[0] == "right"


def test_a_picture_of_another_moment_is_wrong(film, monkeypatch):
    times, pictures = sweep_films.shown_by_ffmpeg(film)
    others = np.roll(pictures, 30, axis=0)
    monkeypatch.setattr(sweep_films, "shown_by_ffmpeg", lambda film: (times, others))
    assert sweep_films.judge(film)[0] == "wrong"


def test_a_film_that_is_cut_short_is_refused(film):
    short = film.with_name("short.mp4")
    short.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    assert sweep_films.judge(short)[0] == "refused"
