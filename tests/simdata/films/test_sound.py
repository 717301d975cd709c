"""The mix to 16 kHz mono, held against `ffmpeg -ac 1 -ar 16000` sample by sample."""

import shutil
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest
from film_files import numbered

from simdata.common.film_clock import AUDIO_RATE
from simdata.films.container import probe
from simdata.films.sound import Sound

SECONDS = 3
FORMATS = {
    "pcm_s16le": "s16",
    "pcm_s32le": "s32",
    "pcm_f32le": "flt",
    "flac": "s16",
    "aac": "fltp",
    "libopus": "s16",
}


def write(path, pieces, codec="pcm_f32le", start=0.0):
    """A film with sound from (samples (n, channels) float, layout, rate) one after another; the layout of the
    first is the header's."""
    with av.open(str(path), "w") as film:
        picture = film.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        picture.width, picture.height, picture.pix_fmt = 160, 96, "yuv420p"
        sound = film.add_stream(codec, rate=pieces[0][2], layout=pieces[0][1])
        for number in range(25 * SECONDS):
            film.mux(picture.encode(av.VideoFrame.from_ndarray(numbered(number), format="rgb24")))
        film.mux(picture.encode())
        at = start
        for samples, layout, rate in pieces:
            frame = av.AudioFrame.from_ndarray(packed(samples, FORMATS[codec]), FORMATS[codec], layout)
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(at * rate)
            film.mux(sound.encode(frame))
            at += len(samples) / rate
        film.mux(sound.encode())
    return path


def packed(samples, form):
    if form == "fltp":
        return np.ascontiguousarray(samples.T.astype(np.float32))
    scale, kind = {"s16": (2**15 - 1, np.int16), "s32": (2**31 - 1, np.int32), "flt": (1, np.float32)}[form]
    return np.ascontiguousarray((samples * scale).astype(kind).reshape(1, -1))


def sines(channels, rate=48_000, same=False, peak=0.9):
    time = np.arange(SECONDS * rate) / rate
    return np.stack(
        [peak * np.sin(2 * np.pi * (440 if same else 300 + 100 * c) * time) for c in range(channels)], 1
    )


def heard(path):
    return Sound(path, probe(path).sound).span(0, SECONDS)


@pytest.mark.parametrize("layout", ["mono", "stereo", "2.1", "quad", "5.1", "5.1(side)", "7.1"])
@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_f32le"])
def test_equal_channels_sound_as_loud_as_one(tmp_path, layout, codec):
    channels = len(av.AudioLayout(layout).channels)
    path = write(tmp_path / "film.mkv", [(sines(channels, same=True), layout, 48_000)], codec)
    expected = sines(1, AUDIO_RATE, same=True)[:, 0]
    np.testing.assert_allclose(heard(path)[500:-500], expected[500:-500], atol=2e-3)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize(
    ("layout", "codec"),
    [(layout, codec) for layout in ("stereo", "5.1") for codec in FORMATS]
    + [("mono", "aac"), ("7.1", "pcm_s16le")],
)
def test_the_mix_is_ffmpegs(tmp_path, layout, codec):
    channels = len(av.AudioLayout(layout).channels)
    path = write(
        tmp_path / ("film.mp4" if codec == "aac" else "film.mkv"), [(sines(channels), layout, 48_000)], codec
    )
    command = [
        "ffmpeg",
        "-v",
        "quiet",
        "-i",
        path,
        "-map",
        "a",
        "-ac",
        "1",
        "-ar",
        "16000",
        "-f",
        "s16le",
        "-",
    ]
    expected = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, "<i2") / 32_768
    found = heard(path)[round(probe(path).sound.start * AUDIO_RATE) :]
    length = min(len(found), len(expected)) - 1000
    np.testing.assert_allclose(found[:length], expected[:length], atol=3e-4)


def test_full_scale_stereo_is_not_clipped_and_nothing_exceeds_full_scale(tmp_path):
    for codec in ("pcm_f32le", "aac"):
        path = write(tmp_path / f"{codec}.mov", [(sines(2, same=True, peak=0.999), "stereo", 48_000)], codec)
        sound = heard(path)
        assert np.abs(sound).max() <= 1
        assert np.mean(np.abs(sound) > 0.9995) < 0.02


def test_a_change_of_layout_or_rate_on_the_way_keeps_time(tmp_path):
    # In a transport stream every packet says what it holds.
    path = tmp_path / "film.ts"
    with av.open(str(path), "w") as film:
        picture = film.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        picture.width, picture.height, picture.pix_fmt = 160, 96, "yuv420p"
        stream = film.add_stream("mp2", rate=48_000, layout="mono")
        for number in range(25 * SECONDS):
            film.mux(picture.encode(av.VideoFrame.from_ndarray(numbered(number), format="rgb24")))
        film.mux(picture.encode())
        for part, (layout, rate) in enumerate((("mono", 48_000), ("stereo", 48_000), ("stereo", 44_100))):
            encoder = av.CodecContext.create("mp2", "w")
            encoder.sample_rate, encoder.layout, encoder.format = rate, layout, "s16"
            encoder.time_base = Fraction(1, rate)
            channels = len(av.AudioLayout(layout).channels)
            frame = av.AudioFrame.from_ndarray(
                packed(np.tile(sines(1, rate)[:rate], channels), "s16"), "s16", layout
            )
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            for packet in [*encoder.encode(frame), *encoder.encode()]:
                packet.pts += part * rate
                packet.dts, packet.stream = packet.pts, stream
                film.mux(packet)
    sound = heard(path)
    for second in range(3):
        part = sound[second * AUDIO_RATE + 2000 : (second + 1) * AUDIO_RATE - 2000]
        spectrum = np.abs(np.fft.rfft(part))
        assert np.argmax(spectrum) / len(part) * AUDIO_RATE == pytest.approx(300, abs=2)
        assert np.abs(part).max() == pytest.approx(0.9, abs=0.03)


def test_a_layout_that_nobody_stated_is_mixed_too(tmp_path):
    path = write(tmp_path / "film.mkv", [(sines(3, same=True), "3.0", 48_000)], "pcm_s16le")
    assert np.abs(heard(path)).max() == pytest.approx(0.9, abs=0.01)


def test_silence_before_late_sound_and_in_gaps_takes_no_memory(tmp_path):
    tone = (sines(1)[:48_000], "mono", 48_000)
    path = write(tmp_path / "film.mkv", [tone], start=1.5)
    sound = heard(path)
    assert not sound[: int(1.49 * AUDIO_RATE)].any()
    assert np.abs(sound[int(1.51 * AUDIO_RATE) : int(2.4 * AUDIO_RATE)]).max() > 0.8
