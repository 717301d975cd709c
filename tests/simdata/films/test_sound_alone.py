"""Files that are sound and nothing else, and pictures without sound, as stories and clips come."""

from __future__ import annotations

import shutil
import subprocess

import av
import numpy as np
import pytest
from film_files import numbered, tones, write_film

from simdata import encoders
from simdata.common.errors import UserError
from simdata.common.film_clock import AUDIO_RATE
from simdata.films.blocks import stimulus_blocks
from simdata.films.container import probe

SECONDS = 7
RATE = 44_100
KINDS = {
    "story.wav": ("pcm_s16le", "s16"),
    "story.flac": ("flac", "s16"),
    "story.mp3": ("libmp3lame", "fltp"),
    "story.m4a": ("aac", "fltp"),
    "story.ogg": ("libopus", "flt"),
    "story.mka": ("flac", "s16"),
}


def write_story(path, seconds=SECONDS, cover=False, rate=RATE):
    """Sound in the format of its name; with a cover beside it, as shops and podcasts put one."""
    codec, form = KINDS["story" + path.suffix]
    rate = 48_000 if codec == "libopus" else rate
    form_of_file = "mp4" if path.suffix == ".m4a" else None  # PyAV puts no cover into its own choice, ipod
    with av.open(str(path), "w", form_of_file) as file:
        sound = file.add_stream(codec, rate=rate, layout="mono")
        picture = file.add_stream("mjpeg", rate=1) if cover else None
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 160, 96, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            frame = av.VideoFrame.from_ndarray(numbered(7), format="rgb24")
            packets = [*picture.encode(frame), *picture.encode()]
            file.start_encoding()
            for packet in packets:
                packet.stream = picture
                file.mux(packet)
        resampler = av.AudioResampler(form, "mono", rate, frame_size=sound.codec_context.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(tones(seconds, rate)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(sound.encode(piece))
        file.mux(sound.encode())
    return path


def heard(path, seconds=SECONDS):
    (block,) = stimulus_blocks(path, [], [(0, seconds)], (48, 80), waveform=True)
    assert block.frame is None
    return block.waveform.reshape(-1)


@pytest.mark.parametrize("name", KINDS)
def test_sound_alone_has_its_time_and_no_picture(tmp_path, name):
    info = probe(write_story(tmp_path / name))
    assert info.modalities == ("audio",)
    assert info.picture is None
    assert info.duration == pytest.approx(SECONDS, abs=0.06)  # codecs fill up their last frame
    sound = heard(tmp_path / name).astype(float)
    expected = tones(SECONDS, AUDIO_RATE) * 2**15
    assert np.corrcoef(sound, expected)[0, 1] > 0.99  # a delay of 1 ms would make it .3


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is the oracle")
@pytest.mark.parametrize("name", KINDS)
def test_sound_alone_is_what_ffmpeg_writes(tmp_path, name):
    path = write_story(tmp_path / name)
    command = ["ffmpeg", "-v", "error", "-i", path, "-ac", "1", "-ar", str(AUDIO_RATE), "-f", "s16le", "-"]
    expected = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.int16)
    found = heard(path)
    length = min(len(found), len(expected))
    assert length > (SECONDS - 0.1) * AUDIO_RATE
    assert np.abs(found[:length].astype(int) - expected[:length]).max() <= 3  # ffmpeg resamples whole numbers


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="PyAV's wheel has no encoder of Vorbis")
def test_vorbis(tmp_path):
    path = write_story(tmp_path / "story.wav")
    subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-c:a", "libvorbis", tmp_path / "a.ogg"], check=True)
    assert probe(tmp_path / "a.ogg").modalities == ("audio",)
    expected = tones(SECONDS, AUDIO_RATE) * 2**15
    assert np.corrcoef(heard(tmp_path / "a.ogg"), expected)[0, 1] > 0.99


@pytest.mark.parametrize("name", ["story.mp3", "story.m4a", "story.flac"])
def test_a_cover_is_no_picture(tmp_path, name):
    path = write_story(tmp_path / name, cover=True)
    assert probe(path).modalities == ("audio",)
    assert np.abs(heard(path)).max() > 10_000


def test_encoders_of_pictures_say_what_is_lacking_and_those_of_sound_work(tmp_path):
    path = write_story(tmp_path / "story.wav")
    with pytest.raises(UserError, match=r"story\.wav: has no pictures, which the encoders motion_energy need"):
        list(stimulus_blocks(path, [encoders.create("motion_energy")], [(0, SECONDS)]))
    (block,) = stimulus_blocks(path, [encoders.create("logmel")], [(0, SECONDS)])
    rows = block.embeddings["audio_logmel"]
    np.testing.assert_array_equal(np.isfinite(rows).all(axis=1), np.arange(SECONDS) + 3 <= SECONDS)


def test_pictures_without_sound(tmp_path):
    path = write_film(tmp_path / "silent.mp4", sound_rate=None)
    assert probe(path).modalities == ("video",)
    (block,) = stimulus_blocks(path, [], [(0, 6)], (48, 80), waveform=True)
    assert block.waveform is None
    assert block.frame.shape == (6, 48, 80, 3)


@pytest.mark.parametrize("name", ["story.wav", "story.flac", "story.m4a", "story.mka"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_sound_that_is_cut_short_is_an_error(tmp_path, name, share):
    path = write_story(tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"story\.\w+: "):
        heard(path)


def test_a_wav_of_a_pipe_has_no_length_in_its_header_and_is_whole(tmp_path):
    content = bytearray(write_story(tmp_path / "story.wav").read_bytes())
    place = content.index(b"data") + 4
    content[4:8] = content[place : place + 4] = b"\xff" * 4
    (tmp_path / "pipe.wav").write_bytes(content)
    np.testing.assert_array_equal(heard(tmp_path / "pipe.wav"), heard(tmp_path / "story.wav"))


@pytest.mark.parametrize("name", ["story.wav", "story.flac", "story.mp3", "story.m4a", "story.ogg"])
def test_damage_is_one_message_or_sound(tmp_path, name):
    whole, rng = write_story(tmp_path / name, seconds=2).read_bytes(), np.random.default_rng(0)
    for _ in range(25):
        content, place = bytearray(whole), int(rng.integers(len(whole)))
        content[place : place + 20] = rng.bytes(20)
        (tmp_path / name).write_bytes(content[: int(rng.integers(1, len(content)))])
        try:
            assert heard(tmp_path / name, 2).shape == (2 * AUDIO_RATE,)
        except UserError as error:
            assert str(tmp_path / name) in str(error)
