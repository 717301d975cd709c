"""Which picture is on screen when: sparse = sequential = as it was written, for codecs, containers and cuts.

The films say their own time: a picture's number is burned in, and each second begins with a tone. Where
ffprobe is at hand, every picture is also held against the presentation times of FFmpeg's own tools.
"""

import shutil
import subprocess
from functools import cache

import numpy as np
import pytest
from film_files import cut, number_of, write_film

from simdata.common.film_clock import AUDIO_RATE
from simdata.encoders import Grid
from simdata.films.container import probe
from simdata.films.pictures import Pictures
from simdata.films.sound import Sound

RATE, SECONDS = 25, 14
X264 = {"codec": "libx264", "options": {"preset": "ultrafast", "sc_threshold": "0"}}
X265 = {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": "log-level=none:keyint=30"}}
MPEG2 = {"codec": "mpeg2video", "sound_codec": "mp2", "options": {"qmin": "2", "qmax": "2"}}
ASP = {"codec": "mpeg4", "sound_codec": "libmp3lame", "options": {"qmin": "2", "qmax": "2"}}
VPX = {"options": {"deadline": "realtime", "cpu-used": "8"}, "sound_codec": "libopus"}
AV1 = {"codec": "libsvtav1", "sound_codec": "libopus", "options": {"preset": "10", "crf": "1"}}
FILMS = {
    "mp4": X264,
    "three B-pictures.mp4": {**X264, "b_frames": 3, "group": 250},
    "fragments.mp4": {**X264, "container": {"movflags": "frag_keyframe+empty_moov"}},
    "mov": X264,
    "mkv": X264,
    "flv": X264,
    "ts": X264,
    "long groups.ts": {**X264, "b_frames": 3, "group": 250},
    "open groups.mp4": X265,
    "open groups.mkv": X265,
    "open groups.ts": X265,
    "asp.mp4": {**ASP, "sound_codec": "aac"},
    "asp.avi": {**ASP, "b_frames": 0},
    "asp with B-pictures.avi": ASP,
    "H.264 with B-pictures.avi": {**X264, "b_frames": 3, "sound_codec": "libmp3lame"},
    "mpeg2.ts": MPEG2,
    "mpeg2.mpg": MPEG2,
    "mpeg2.vob": MPEG2,
    "vp8.webm": {**VPX, "codec": "libvpx"},
    "vp9.webm": {**VPX, "codec": "libvpx-vp9"},
    "av1.webm": AV1,
    "av1.mp4": {**AV1, "sound_codec": "aac"},
    "intra.mov": {"codec": "prores_ks", "sound_codec": "pcm_s16le"},
}
CUTS = [
    (source, start, to)
    for source, starts, targets in (
        ("mp4", (3.48, 8.52), ("mp4", "mov", "mkv", "ts")),
        ("three B-pictures.mp4", (3.48, 9.2), ("mp4", "ts")),
        ("open groups.mp4", (3.48, 9.2), ("mp4", "ts")),
        ("asp.mp4", (3.48,), ("mp4",)),
        ("vp9.webm", (3.48,), ("webm",)),
    )
    for start in starts
    for to in targets
]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Writes a film of FILMS once."""
    folder = tmp_path_factory.mktemp("films")

    @cache
    def written(name):
        path = folder / (name if "." in name else f"film.{name}")
        return write_film(path, seconds=SECONDS, rate=RATE, **FILMS[name])

    return written


def seen(path, grid, block, seconds=SECONDS):
    """Numbers of the pictures at the grid's ticks, read in blocks that overlap; -1 for black."""
    pictures = Pictures(path, probe(path).picture, [grid, Grid(1, (8, 8))])
    numbers = []
    for start in range(0, seconds, block):
        stop = min(start + block, seconds)
        span, _ = pictures.spans(start, [stop + 2, stop])
        numbers += [
            number_of(picture) if picture.any() else -1 for picture in span[: (stop - start) * grid.rate]
        ]
    return np.array(numbers)


GRIDS = (Grid(12, (24, 80)), 32), (Grid(25, (24, 80), phase=0.5), 5)


def check(path, first, tail=0.0, tools=True):
    """Every picture from number ``first`` on, at 12 and 25 Hz; and by FFmpeg's own times, if it is there.

    A cut takes away what pictures in its last ``tail`` s need.
    """
    info = probe(path)
    rounding = 4e-4 if path.suffix in (".mkv", ".webm", ".flv") else 5e-6  # ms, or a finer clock
    shown = ffmpegs_pictures(path) if tools and shutil.which("ffmpeg") else None
    for grid, block in GRIDS:
        found = seen(path, grid, block)
        ticks = (np.arange(SECONDS * grid.rate) + grid.phase) / grid.rate
        number = np.floor((ticks - info.picture.start + rounding) * RATE).astype(int)
        expected = np.where((number >= 0) & (ticks < info.duration - 1e-3), first + number, -1)
        expected[(found == -1) & (expected == 0)] = -1  # picture 0 is black
        there = ticks < info.duration - tail
        np.testing.assert_array_equal(found[there], expected[there])
        if shown is not None:
            times, numbers = shown
            place = np.searchsorted(times - times[0] + info.picture.start - rounding, ticks, side="right") - 1
            live = there & (place >= 0) & (ticks < info.duration - 1e-3) & (found >= 0)
            np.testing.assert_array_equal(found[live], numbers[place[live]])


def ffmpegs_pictures(path):
    """(s, number) of each picture by ffprobe and ffmpeg; None where its times do not ascend."""
    command = ["ffprobe", "-v", "quiet", "-select_streams", "v:0", "-of", "csv=p=0"]
    entries = ["-show_entries", "frame=best_effort_timestamp_time"]
    text = subprocess.run([*command, *entries, path], capture_output=True, text=True, check=True).stdout
    times = [float(line.split(",")[0]) for line in text.split() if line.split(",")[0] not in ("", "N/A")]
    command = ["ffmpeg", "-v", "quiet", "-i", path, "-map", "v:0", "-vsync", "passthrough"]
    scaled = ["-vf", "scale=80:8:flags=area", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run([*command, *scaled], capture_output=True, check=True).stdout
    numbers = [number_of(picture) for picture in np.frombuffer(raw, np.uint8).reshape(-1, 8, 80, 3)]
    if len(times) != len(numbers) or not (np.diff(times) > 0).all():
        return None
    return np.array(times), np.array(numbers)


def check_sound_with_pictures(path):
    """Tones begin with the pictures of whole seconds."""
    info = probe(path)
    sound = Sound(path, info.sound).span(0, int(info.duration))
    loud = np.flatnonzero(np.abs(sound) > 0.1) / AUDIO_RATE
    onsets = loud[np.diff(loud, prepend=-1) > 0.5]
    onsets = onsets[onsets > max(info.picture.start, info.sound.start) + 0.05]
    assert len(onsets) > 2
    numbers = seen(path, Grid(200, (24, 80)), 32, int(info.duration))
    at = numbers[np.clip(np.round(onsets * 200).astype(int), 0, len(numbers) - 1)]
    assert np.abs((at / RATE + 0.5) % 1 - 0.5).max() < 0.09  # codecs without a statement of their delay


@pytest.mark.parametrize("name", FILMS)
def test_every_picture_is_the_one_on_screen(film, name):
    path = film(name)
    check(path, 0)
    check_sound_with_pictures(path)


@pytest.mark.parametrize(("source", "start", "to"), CUTS)
def test_cuts_without_encoding_show_what_a_player_shows(film, tmp_path, source, start, to):
    path = cut(film(source), tmp_path / f"cut.{to}", start, 4.5)
    # Other containers show what is before the cut, from the key picture on.
    check(path, round(start * RATE) if to in ("mp4", "mov") else first_number(path), tail=0.5)
    check_sound_with_pictures(path)


@pytest.mark.parametrize("name", ["ts", "long groups.ts", "open groups.ts", "mpeg2.ts"])
def test_a_recording_that_begins_anywhere_is_seen_from_its_first_key_picture_on(film, tmp_path, name):
    whole = film(name).read_bytes()
    path = tmp_path / "middle.ts"
    path.write_bytes(whole[len(whole) // 188 // 5 * 188 :])
    check(path, first_number(path), tools=False)  # ffmpeg shows grey pictures before
    check_sound_with_pictures(path)


def first_number(path):
    """Of the first picture that is shown; picture 0 is black."""
    info = probe(path)
    numbers = seen(path, Grid(25, (24, 80), phase=0.5), 32)
    found = np.argmax(numbers >= 0)
    return numbers[found] - int((found + 0.5) / RATE * RATE - info.picture.start * RATE)
