from fractions import Fraction

import av
import numpy as np
import psutil
import pytest
from film_files import TONE, number_of, numbered, write_film

from simdata.common.errors import UserError
from simdata.common.film_clock import AUDIO_RATE
from simdata.encoders import AudioEncoder, Grid, Settings, VideoEncoder, uniform_frames
from simdata.films.blocks import stimulus_blocks
from simdata.films.container import probe
from simdata.films.pictures import Pictures

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

    encoder, grid, features = "numbers", Grid(8, (48, 80)), 24

    def encode(self, span, starts):
        assert span.dtype == np.uint8
        assert span.shape == ((starts[-1] + self.window) * 8, 48, 80, 3)
        seen = np.array([number_of(picture) for picture in span], np.float32)
        return np.stack([seen[start * 8 :][: self.features] for start in starts])

    def parameters(self):
        return {}


class Loudness(AudioEncoder):
    """Each row is the loudness in each twentieth of a second of its window."""

    encoder, features = "loudness", 60

    def encode(self, span, starts):
        steps = np.abs(span).reshape(-1, AUDIO_RATE // 20).mean(axis=1)
        return np.stack([steps[20 * start :][: self.features] for start in starts]).astype(np.float32)

    def parameters(self):
        return {}


def decode(path, seconds, block=32, encoders=None):
    encoders = [SeenNumbers(), Loudness()] if encoders is None else encoders
    bounds = [(start, min(start + block, seconds)) for start in range(0, seconds, block)]
    blocks = list(stimulus_blocks(path, encoders, bounds, thumbnail=(48, 80), waveform=True))
    joined = {e.name: np.concatenate([b.embeddings[e.array] for b in blocks]) for e in encoders}
    return (*(together(blocks, name) for name in ("frame", "waveform")), joined)


def together(blocks, name):
    parts = [getattr(block, name) for block in blocks]
    return None if parts[0] is None else np.concatenate(parts)


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
    assert (info.picture.width, info.picture.height, info.picture.rate) == (160, 96, 24)
    assert info.duration == pytest.approx(6.5, abs=0.01)
    assert (info.picture.start, info.sound.start) == (0.5, 0)


def test_silent_films_serve_video_encoders_only(tmp_path):
    path = write_film(tmp_path / "silent.mp4", sound_rate=None)
    _, waveform, embeddings = decode(path, seconds=6, encoders=[SeenNumbers()])
    assert waveform is None
    assert np.isfinite(embeddings["numbers"][:4]).all()
    with pytest.raises(UserError, match=r"silent\.mp4: has no sound, which the encoders loudness need"):
        decode(path, seconds=6)


def test_what_is_no_film_is_an_error(tmp_path):
    (tmp_path / "text.mp4").write_text("not a film")
    with pytest.raises(UserError, match=r"text\.mp4: cannot be read as a film"):
        probe(tmp_path / "text.mp4")
    with av.open(str(tmp_path / "subtitles.mkv"), "w") as film:
        film.add_stream("ass")
    with pytest.raises(UserError, match=r"subtitles\.mkv: "):
        probe(tmp_path / "subtitles.mkv")


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
    with pytest.raises(UserError, match=r"front\.mp4: is cut short: its index points behind its end"):
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


@pytest.mark.parametrize("width", [16, 48, 96, 101, 144])
def test_pictures_of_any_width(tmp_path, width):
    path = write_film(tmp_path / "film.mp4")
    (span,) = Pictures(path, probe(path).picture, [Grid(8, (40, width))]).spans(1, [3])
    assert span.shape == (16, 40, width, 3)
    assert [number_of(picture) for picture in span] == list(range(24, 72, 3))


@pytest.mark.parametrize("size", [(48, 48), (96, 40), (60, 200)])
def test_crop_keeps_the_middle_at_the_films_own_shape(tmp_path, size):
    path = write_film(tmp_path / "film.mp4")  # bars of 16 x 96 pixels
    (span,) = Pictures(path, probe(path).picture, [Grid(1, size, "crop")]).spans(2, [3])
    scale = max(size[0] / 96, size[1] / 160)
    expected = numbered(48)[
        48, np.clip((80 + (np.arange(size[1]) - size[1] / 2 + 0.5) / scale).astype(int), 0, 159), 0
    ]
    far_from_edges = np.abs(((80 + (np.arange(size[1]) - size[1] / 2 + 0.5) / scale) + 8) % 16 - 8) > 2
    np.testing.assert_allclose(span[0, size[0] // 2, far_from_edges, 0], expected[far_from_edges], atol=25)


def test_a_grid_may_have_a_phase(tmp_path):
    path = write_film(tmp_path / "film.mp4")
    (span,) = Pictures(path, probe(path).picture, [Grid(4, (48, 80), phase=0.5)]).spans(1, [2])
    assert [number_of(picture) for picture in span] == [27, 33, 39, 45]


def test_blocks_that_are_not_wanted_are_skipped(tmp_path):
    path = write_film(tmp_path / "film.mp4", seconds=12)
    encoders = [SeenNumbers(), Loudness()]
    everything = {block.start: block for block in stimulus_blocks(path, encoders, [(0, 4), (4, 8), (8, 10)])}
    for block in stimulus_blocks(path, encoders, [(4, 8)]):
        for name, rows in block.embeddings.items():
            np.testing.assert_array_equal(rows, everything[4].embeddings[name])
    assert everything[0].frame is None


def test_strides_leave_rows_out(tmp_path):
    path = write_film(tmp_path / "film.mp4", seconds=12)
    encoder = Loudness(Settings(stride=3))
    rows = np.concatenate(
        [b.embeddings[encoder.array] for b in stimulus_blocks(path, [encoder], [(0, 5), (5, 10)])]
    )
    np.testing.assert_array_equal(np.isfinite(rows).all(axis=1), np.arange(10) % 3 == 0)


def test_context_is_the_sound_around_as_far_as_there_is_any(tmp_path):
    path = write_film(tmp_path / "film.mp4", seconds=9)

    class Spans(AudioEncoder):
        encoder, features, context = "spans", 2, 2

        def encode(self, span, starts):
            return np.column_stack([starts, np.full(len(starts), len(span) / AUDIO_RATE)]).astype(np.float32)

        def parameters(self):
            return {}

    first, second = stimulus_blocks(path, [Spans()], [(0, 4), (4, 8)])
    np.testing.assert_array_equal(first.embeddings["audio_spans"], [[0, 8], [1, 8], [2, 8], [3, 8]])
    np.testing.assert_array_equal(second.embeddings["audio_spans"][:3], [[2, 7], [3, 7], [4, 7]])
    assert np.isnan(second.embeddings["audio_spans"][3]).all()


class SixteenFrames(VideoEncoder):
    """Each row is the numbers of the 16 pictures that a model of 16 frames sees."""

    encoder, features = "sixteen", 16

    def __init__(self, settings=None):
        super().__init__(settings)
        rate, phase, self._index = uniform_frames(16, self.window)
        self.grid = Grid(rate, (48, 80), "crop", phase)

    def encode(self, span, starts):
        seen = np.array([number_of(picture) for picture in span], np.float32)
        return np.stack([seen[start * self.grid.rate + self._index] for start in starts])

    def parameters(self):
        return {}


@pytest.mark.parametrize("name", FILMS)
@pytest.mark.parametrize("window", [2, 3])
def test_sixteen_frames_of_a_window_are_those_on_screen_in_the_middles_of_its_parts(tmp_path, name, window):
    options = FILMS[name]
    path = write_film(tmp_path / "film.mp4", **options)
    encoder = SixteenFrames(Settings(window=window))
    (block,) = stimulus_blocks(path, [encoder], [(0, 4)])
    for second, row in enumerate(block.embeddings["video_sixteen"][:3]):
        times = second + (np.arange(16) + 0.5) * window / 16
        np.testing.assert_array_equal(row, [expected_number(options, time) or 0 for time in times])


def test_a_codec_that_nobody_knows_is_an_error(tmp_path):
    path = write_film(tmp_path / "film.mp4")
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzz9"))
    with pytest.raises(UserError, match=r"film\.mp4: its picture is in a format that cannot be decoded"):
        decode(path, seconds=6)


def test_a_sound_track_without_sound_counts_as_none(tmp_path):
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as film:
        picture = film.add_stream("libx264", rate=24)
        picture.width, picture.height, picture.pix_fmt = 160, 96, "yuv420p"
        film.add_stream("aac", rate=48_000, layout="stereo")
        for number in range(72):
            film.mux(picture.encode(av.VideoFrame.from_ndarray(numbered(number), format="rgb24")))
        film.mux(picture.encode())
    with pytest.raises(UserError, match=r"film\.mp4: has no sound, which the encoders loudness need"):
        decode(path, seconds=3)
    _, waveform, _ = decode(path, seconds=3, encoders=[SeenNumbers()])
    assert waveform is None
