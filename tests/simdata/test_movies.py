import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import psutil
import pytest
from film_files import TONE, number_of, write_film

from simdata.encoders import AudioEncoder, VideoEncoder
from simdata.errors import UserError
from simdata.movies import AUDIO_RATE, probe, stimulus_blocks

NTSC, PAL = Fraction(24_000, 1001), 25
FILMS = {
    "24 fps": {},
    "23.976 fps": {"rate": NTSC},
    "29.97 fps": {"rate": Fraction(30_000, 1001)},
    "25 fps, no B-frames": {"rate": PAL, "b_frames": 0},
    "uneven": {"uneven": True},
    "late pictures": {"picture_start": 0.5},
    "late sound": {"sound_start": 0.5},
    "mono at 44.1 kHz": {"sound_rate": 44_100, "layout": "mono"},
    "5.1": {"layout": "5.1"},
}


class SeenNumbers(VideoEncoder):
    """Each row is the numbers of the pictures in its window."""

    name, rate, size, features = "numbers", 8, (48, 80), 24

    def encode(self, span, rows):
        assert span.dtype == np.uint8
        assert span.shape == ((rows + 2) * self.rate, *self.size, 3) or len(span) > (rows + 2) * self.rate
        seen = np.array([number_of(picture) for picture in span], np.float32)
        return np.stack([seen[row * self.rate :][: self.features] for row in range(rows)])

    def parameters(self):
        return {}


class Loudness(AudioEncoder):
    """Each row is the loudness in each twentieth of a second of its window."""

    name, features = "loudness", 60

    def encode(self, span, rows):
        steps = np.abs(span).reshape(-1, AUDIO_RATE // 20).mean(axis=1)
        return np.stack([steps[20 * row :][: self.features] for row in range(rows)]).astype(np.float32)

    def parameters(self):
        return {}


def decode(path, seconds, block=32, encoders=None):
    encoders = [SeenNumbers(), Loudness()] if encoders is None else encoders
    blocks = list(stimulus_blocks(path, encoders, seconds=seconds, thumbnail=(48, 80), block=block))
    joined = {e.name: np.concatenate([b.embeddings[e.name] for b in blocks]) for e in encoders}
    frame, waveform = (np.concatenate([getattr(b, name) for b in blocks]) for name in ("frame", "waveform"))
    return frame, waveform, joined


def expected_number(options, time):
    """The picture that a player shows at a time, from how the film was written."""
    rate = options.get("rate", 24)
    number = np.arange(1000)
    early = 0.6 * (number % 2) if options.get("uneven") else 0
    shown = options.get("picture_start", 0.0) + (number - early) / float(rate)
    return number[shown <= time + 1e-4][-1] if (shown <= time + 1e-4).any() else None


@pytest.mark.parametrize("name", FILMS)
def test_every_row_sees_the_pictures_of_its_window_to_the_frame(tmp_path, name):
    options = FILMS[name]
    path = write_film(tmp_path / "film.mp4", **options)
    frame, _, embeddings = decode(path, seconds=5)
    for second in range(5):
        expected = expected_number(options, second)
        assert number_of(frame[second]) == (expected or 0), second
    seen = embeddings["numbers"]
    assert np.isfinite(seen[:3]).all()
    for row in range(3):
        expected = [expected_number(options, row + k / 8) or 0 for k in range(24)]
        np.testing.assert_array_equal(seen[row], expected)


@pytest.mark.parametrize("name", FILMS)
def test_every_row_hears_the_tones_of_its_window(tmp_path, name):
    options = FILMS[name]
    path = write_film(tmp_path / "film.mp4", **options)
    _, waveform, embeddings = decode(path, seconds=6)
    start = options.get("sound_start", 0.0)
    loud = np.flatnonzero(np.abs(waveform.reshape(-1)) > 3000) / AUDIO_RATE
    onsets = loud[np.diff(loud, prepend=-1) > 0.5]
    np.testing.assert_allclose(onsets[:5], start + np.arange(5), atol=2e-3)
    for row in range(3):
        step = (np.arange(60) / 20 - start) % 1
        expected = (step < TONE - 1e-9) & (np.arange(60) / 20 + row >= start)
        np.testing.assert_array_equal(embeddings["loudness"][row] > 0.1, expected)


def test_rows_do_not_depend_on_the_blocks(tmp_path):
    path = write_film(tmp_path / "film.mp4", seconds=11)
    whole = decode(path, seconds=12)
    for block in (1, 4, 5):
        parts = decode(path, seconds=12, block=block)
        np.testing.assert_array_equal(parts[0], whole[0])
        np.testing.assert_array_equal(parts[1], whole[1])
        for name in whole[2]:
            np.testing.assert_array_equal(parts[2][name], whole[2][name])


def test_windows_past_the_end_are_nan_and_nothing_is_repeated(tmp_path):
    frame, waveform, embeddings = decode(write_film(tmp_path / "film.mp4", seconds=6), seconds=9)
    for rows in embeddings.values():
        assert np.isfinite(rows[:4]).all()  # the last whole window is [3, 6)
        assert np.isnan(rows[4:]).all()
    assert not frame[6:].any()
    assert not waveform[6:].any()


def test_a_film_that_goes_on_gives_whole_rows_to_the_last(tmp_path):
    _, _, embeddings = decode(write_film(tmp_path / "film.mp4", seconds=9), seconds=6)
    assert all(np.isfinite(rows).all() for rows in embeddings.values())


def test_probe_reads_the_header(tmp_path):
    info = probe(write_film(tmp_path / "film.mp4", picture_start=0.5))
    assert (info.width, info.height, info.frame_rate) == (160, 96, 24)
    assert info.duration == pytest.approx(6.5, abs=0.01)
    assert (info.picture_start, info.sound_start) == (0.5, 0)
    assert info.has_sound


def test_silent_films_serve_video_encoders_only(tmp_path):
    path = write_film(tmp_path / "silent.mp4", sound_rate=None)
    _, waveform, embeddings = decode(path, seconds=6, encoders=[SeenNumbers()])
    assert not waveform.any()
    assert np.isfinite(embeddings["numbers"][:4]).all()
    with pytest.raises(UserError, match=r"silent\.mp4: has no sound, which the encoders loudness need"):
        decode(path, seconds=6)


def test_what_is_no_film_is_an_error(tmp_path):
    (tmp_path / "text.mp4").write_text("not a film")
    with pytest.raises(UserError, match=r"text\.mp4: cannot be read as a film"):
        probe(tmp_path / "text.mp4")
    sound_only = tmp_path / "sound.mp4"
    with av.open(str(sound_only), "w") as film:
        stream = film.add_stream("aac", rate=16_000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 16_000
        film.mux(stream.encode(silence))
        film.mux(stream.encode())
    with pytest.raises(UserError, match=r"sound\.mp4: has no picture stream"):
        probe(sound_only)


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_film_cut_short_is_an_error(tmp_path, share):
    path = write_film(tmp_path / "film.mp4", seconds=6)
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * share))
    with pytest.raises(UserError, match=r"film\.mp4: cannot be"):
        decode(path, seconds=6)


def test_a_cut_film_with_its_index_in_front_is_an_error(tmp_path):
    path = write_film(tmp_path / "film.mp4", seconds=20)
    front = tmp_path / "front.mp4"
    with av.open(str(path)) as source, av.open(str(front), "w", options={"movflags": "faststart"}) as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    with front.open("r+b") as file:
        file.truncate(int(front.stat().st_size * 0.6))
    with pytest.raises(UserError, match=r"front\.mp4: cannot be decoded whole: its pictures end at"):
        decode(front, seconds=20)


def test_memory_stays_flat_when_films_are_opened_again_and_again(tmp_path):
    path = write_film(tmp_path / "film.mp4", seconds=6)
    process = psutil.Process()
    for _ in range(5):
        decode(path, seconds=6)
    before = process.memory_info().rss
    for _ in range(40):
        decode(path, seconds=6)
    # Forty times the decoded film would be 40 * 6 * 24 * 160 * 96 * 3 bytes, 265 MB.
    assert process.memory_info().rss - before < 40e6


def test_decord_before_torch_does_no_harm():
    code = "import simdata.decoding, torch; print(float((torch.ones(99, 99) @ torch.ones(99, 99)).sum()))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [str(99.0**3)]
