"""Files that are sound and nothing else, and pictures without sound, as stories and clips come."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress

import numpy as np
import pytest
from film_files import SOUNDS, tones, write_film, write_sound

from simdata import encoders
from simdata.common.errors import UserError
from simdata.common.film_clock import AUDIO_RATE
from simdata.films.blocks import stimulus_blocks
from simdata.films.container import probe

SECONDS = 7
KINDS = [f"story{ending}" for ending in SOUNDS]


def heard(path, seconds=SECONDS):
    (block,) = stimulus_blocks(path, [], [(0, seconds)], (48, 80), waveform=True)
    assert block.frame is None
    return block.waveform.reshape(-1)


@pytest.mark.parametrize("name", KINDS)
def test_sound_alone_has_its_time_and_no_picture(tmp_path, name):
    info = probe(write_sound(tmp_path / name, SECONDS))
    assert info.modalities == ("audio",)
    assert info.picture is None
    assert info.duration == pytest.approx(SECONDS, abs=0.06)  # codecs fill up their last frame
    sound = heard(tmp_path / name).astype(float)
    expected = tones(SECONDS, AUDIO_RATE) * 2**15
    assert np.corrcoef(sound, expected)[0, 1] > 0.99  # a delay of 1 ms would make it .3


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is the oracle")
@pytest.mark.parametrize("name", KINDS)
def test_sound_alone_is_what_ffmpeg_writes(tmp_path, name):
    path = write_sound(tmp_path / name, SECONDS)
    command = ["ffmpeg", "-v", "error", "-i", path, "-ac", "1", "-ar", str(AUDIO_RATE), "-f", "s16le", "-"]
    expected = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.int16)
    found = heard(path)
    length = min(len(found), len(expected))
    assert length > (SECONDS - 0.1) * AUDIO_RATE
    assert np.abs(found[:length].astype(int) - expected[:length]).max() <= 3  # ffmpeg resamples whole numbers


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="PyAV's wheel has no encoder of Vorbis")
def test_vorbis(tmp_path):
    path = write_sound(tmp_path / "story.wav", SECONDS)
    subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-c:a", "libvorbis", tmp_path / "a.ogg"], check=True)
    assert probe(tmp_path / "a.ogg").modalities == ("audio",)
    expected = tones(SECONDS, AUDIO_RATE) * 2**15
    assert np.corrcoef(heard(tmp_path / "a.ogg"), expected)[0, 1] > 0.99


@pytest.mark.parametrize("name", ["story.mp3", "story.m4a", "story.flac"])
def test_a_cover_is_no_picture(tmp_path, name):
    path = write_sound(tmp_path / name, SECONDS, cover=True)
    assert probe(path).modalities == ("audio",)
    assert np.abs(heard(path)).max() > 10_000


def test_encoders_of_pictures_say_what_is_lacking_and_those_of_sound_work(tmp_path):
    path = write_sound(tmp_path / "story.wav", SECONDS)
    with pytest.raises(
        UserError, match=r"story\.wav: has no pictures, which the encoders motion_energy need"
    ):
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
    path = write_sound(tmp_path / name, SECONDS)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"story\.\w+: "):
        heard(path)


def test_a_wav_of_a_pipe_has_no_length_in_its_header_and_is_whole(tmp_path):
    content = bytearray(write_sound(tmp_path / "story.wav", SECONDS).read_bytes())
    place = content.index(b"data") + 4
    content[4:8] = content[place : place + 4] = b"\xff" * 4
    (tmp_path / "pipe.wav").write_bytes(content)
    np.testing.assert_array_equal(heard(tmp_path / "pipe.wav"), heard(tmp_path / "story.wav"))


@pytest.mark.parametrize("name", ["story.wav", "story.flac", "story.mp3", "story.m4a", "story.ogg"])
def test_damage_is_one_message_or_sound(tmp_path, name):
    whole, rng = write_sound(tmp_path / name, 2).read_bytes(), np.random.default_rng(0)
    for _ in range(25):
        content, place = bytearray(whole), int(rng.integers(len(whole)))
        content[place : place + 20] = rng.bytes(20)
        (tmp_path / name).write_bytes(content[: int(rng.integers(1, len(content)))])
        with suppress(UserError):
            assert heard(tmp_path / name, 2).shape == (2 * AUDIO_RATE,)
