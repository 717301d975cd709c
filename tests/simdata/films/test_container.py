"""What a player takes of a file: streams, shape, colours, lengths; and what is refused, with what to do."""

import shutil
import struct
import subprocess
import time
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from av.stream import Disposition
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from film_files import SIZE, number_of, numbered, tones, write_film

from simdata.common.errors import UserError
from simdata.common.film_clock import AUDIO_RATE
from simdata.encoders import Grid
from simdata.films.blocks import stimulus_blocks
from simdata.films.container import probe
from simdata.films.film_conversion import thumbnail_size
from simdata.films.pictures import Pictures
from simdata.films.sound import Sound
from simdata.release.sources import Film

CORNERS = np.array([[[200, 30, 30], [30, 200, 30]], [[30, 30, 200], [200, 200, 30]]], np.uint8)
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-y", "-v", "error", *map(str, arguments)], check=True)


def read(path, seconds=None):
    """All of it, as one block."""
    info = probe(path)
    seconds = seconds or int(info.duration)
    (block,) = stimulus_blocks(path, [], [(0, seconds)], thumbnail=(48, 80), waveform=True)
    return block


def write_pictures(path, pictures, form="yuv444p", codec="libx264", options=None, **properties):
    """A film of 25 pictures a second; ``properties`` are of the encoder, or of the stream."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream(codec, rate=25, options={"qp": "4"} if options is None else options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = form
        for name, value in properties.items():
            if name == "rotation":
                stream.set_display_rotation(value)
            else:
                setattr(stream.codec_context, name, value)
        for picture in pictures:
            frame = (
                picture
                if isinstance(picture, av.VideoFrame)
                else av.VideoFrame.from_ndarray(picture, "rgb24")
            )
            film.mux(stream.encode(frame.reformat(format=form)))
        film.mux(stream.encode())
    return path


def first_picture(path, size=None):
    info = probe(path)
    size = size or (info.picture.height, info.picture.width)
    return Pictures(path, info.picture, [Grid(1, size)]).spans(0, [1])[0][0]


@pytest.mark.parametrize("turn", [0, 90, 180, -90])
def test_pictures_are_upright_as_phones_write_them(tmp_path, turn):
    corners = CORNERS.repeat(48, 0).repeat(80, 1)
    path = write_pictures(tmp_path / "film.mp4", [corners] * 30, rotation=turn)
    info = probe(path)
    assert (info.picture.width, info.picture.height) == ((160, 96) if turn in (0, 180) else (96, 160))
    picture = first_picture(path)
    upright = np.rot90(CORNERS, turn // 90)  # the matrix says degrees against the clock
    height, width = picture.shape[:2]
    seen = picture[[height // 4, 3 * height // 4]][:, [width // 4, 3 * width // 4]]
    np.testing.assert_allclose(seen, upright, atol=8)


@needs_ffmpeg
@pytest.mark.parametrize("shape", ["1/1", "4/3", "1/2"])
@pytest.mark.parametrize("turn", [0, 90, 270])
def test_shape_and_direction_are_ffmpegs(tmp_path, shape, turn):
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 255, (6, 10, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    plain = write_pictures(tmp_path / "plain.mp4", [blocks] * 30, sample_aspect_ratio=Fraction(shape))
    path = tmp_path / "film.mp4"
    with av.open(str(plain)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.set_display_rotation(turn)
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    info = probe(path)
    wide = round(160 * Fraction(shape))
    assert (info.picture.width, info.picture.height) == ((wide, 96) if turn == 0 else (96, wide))
    scale = f"scale={info.picture.width}:{info.picture.height}:flags=bicubic+accurate_rnd+full_chroma_int"
    ffmpeg("-i", path, "-frames:v", 1, "-vf", scale, "-f", "rawvideo", "-pix_fmt", "rgb24", tmp_path / "raw")
    expected = np.fromfile(tmp_path / "raw", np.uint8).reshape(info.picture.height, info.picture.width, 3)
    info = probe(path)
    grid = Grid(1, (info.picture.height, info.picture.width), interpolation="bicubic")
    np.testing.assert_allclose(Pictures(path, info.picture, [grid]).spans(0, [1])[0][0], expected, atol=2)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_scaling_is_that_of_antialiased_resizing_in_rgb(tmp_path, interpolation):
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 255, (17, 31, 3), np.uint8).repeat(24, 0).repeat(24, 1)[:400, :720]
    path = write_pictures(tmp_path / "film.mp4", [blocks] * 26, "yuv420p")

    grids = [Grid(1, size, interpolation=interpolation) for size in ((112, 202), (400, 720))]
    scaled, whole = (span[0] for span in Pictures(path, probe(path).picture, grids).spans(0, [1, 1]))
    whole = torch.from_numpy(whole.copy()).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(whole, size=(112, 202), mode=interpolation, antialias=True)
    expected = expected.clamp(0, 255).round()[0].permute(1, 2, 0).numpy()
    assert np.abs(scaled - expected).mean() < 1


def test_thumbnails_have_the_shape_that_is_shown(tmp_path):
    path = write_pictures(
        tmp_path / "film.mp4", [numbered(1)] * 30, rotation=90, sample_aspect_ratio=Fraction(2, 1)
    )
    film = Film(movie=None, path=path, relative="film.mp4")
    assert thumbnail_size([film]) == (72, round(72 * 96 / 320))


def test_a_resizing_of_ones_own_is_given_whole_pictures_once(tmp_path):
    path = write_pictures(tmp_path / "film.mp4", [CORNERS.repeat(48, 0).repeat(80, 1)] * 60, rotation=90)
    given = []

    def resize(pictures):
        given.append(pictures)
        return pictures[:, ::4, ::4][:, :40, :24]

    pictures = Pictures(path, probe(path).picture, [Grid(5, (40, 24), resize=resize), Grid(25, (16, 16))])
    span, _ = pictures.spans(0, [2, 2])
    assert span.shape == (10, 40, 24, 3)
    assert len(given) == 10
    assert {picture.shape for picture in given} == {(1, 160, 96, 3)}
    np.testing.assert_array_equal(span[3], given[3][0, ::4, ::4])


WEIGHTS = {  # of red and blue in luma: BT.601, BT.709, BT.2020
    Colorspace.ITU601: (0.299, 0.114),
    Colorspace.ITU709: (0.2126, 0.0722),
    Colorspace.BT2020: (0.2627, 0.0593),
}


def coded(rgb, matrix, full, form="yuv444p", size=SIZE):
    """A picture of one colour, by the formula of the standards."""
    red, green, blue = np.array(rgb) / 255
    weight_red, weight_blue = WEIGHTS[matrix]
    luma = weight_red * red + (1 - weight_red - weight_blue) * green + weight_blue * blue
    chroma = (blue - luma) / (2 * (1 - weight_blue)), (red - luma) / (2 * (1 - weight_red))
    values = (
        [255 * luma, *(255 * c + 128 for c in chroma)]
        if full
        else [16 + 219 * luma, *(128 + 224 * c for c in chroma)]
    )
    frame = av.VideoFrame(*size, form)
    deep = "10le" in form
    for plane, value in zip(frame.planes, values, strict=True):
        number = np.uint16(round(4 * value)) if deep else np.uint8(round(value))
        count = plane.buffer_size // (2 if deep else 1)
        plane.update(np.full(count, number).tobytes())
    return frame


def write_colour(path, rgb, matrix, full, form="yuv444p", size=SIZE, **tags):
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=25, options={"qp": "1", "preset": "ultrafast"})
        stream.width, stream.height = size
        stream.pix_fmt = form
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for number in range(26):
            frame = coded(rgb, matrix, full, form, size)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
    return path


@pytest.mark.parametrize("form", ["yuv444p", "yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", WEIGHTS)
def test_colours_are_as_tagged(tmp_path, matrix, full, form):
    rgb = (220, 60, 30)
    tags = {"colorspace": int(matrix), "color_range": int(ColorRange.JPEG if full else ColorRange.MPEG)}
    path = write_colour(tmp_path / "film.mp4", rgb, matrix, full, form, **tags)
    np.testing.assert_allclose(first_picture(path, (48, 80))[20, 40], rgb, atol=4)


@pytest.mark.parametrize("form", ["yuv444p", "yuv420p"])
@pytest.mark.parametrize(
    ("size", "matrix"),
    [
        ((160, 96), Colorspace.ITU601),
        ((720, 576), Colorspace.ITU601),
        ((1280, 96), Colorspace.ITU709),
        ((160, 720), Colorspace.ITU709),
    ],
)
def test_colours_without_a_tag_go_by_size_as_in_players(tmp_path, size, matrix, form):
    rgb = (220, 60, 30)
    path = write_colour(tmp_path / "film.mp4", rgb, matrix, False, form, size)
    np.testing.assert_allclose(first_picture(path, (48, 80))[20, 40], rgb, atol=4)
    assert "assumed" in probe(path).picture.colour.text


@pytest.mark.parametrize("form", ["gray", "bgr0", "yuva420p", "yuv411p", "gbrp10le"])
def test_other_pixels_than_yuv_420_are_right_too(tmp_path, form):
    corners = CORNERS.repeat(48, 0).repeat(80, 1)
    path = write_pictures(tmp_path / "film.mkv", [corners] * 30, form, "ffv1", {})
    expected = corners.astype(float)
    if form == "gray":
        expected = np.broadcast_to((expected @ [0.299, 0.587, 0.114])[..., None], expected.shape)
    # Away from edges, at which chroma is a mixture.
    np.testing.assert_allclose(first_picture(path)[12::24, 20::40], expected[12::24, 20::40], atol=4)


@pytest.mark.parametrize("transfer", [ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67])
def test_hdr_is_refused_with_the_command_that_maps_it(tmp_path, transfer):
    tags = {"color_trc": int(transfer), "color_primaries": int(ColorPrimaries.BT2020)}
    path = write_colour(tmp_path / "film.mp4", (99, 99, 99), Colorspace.BT2020, False, "yuv420p10le", **tags)
    with pytest.raises(UserError, match=r"film\.mp4: is HDR \((PQ|HLG)\): .*tonemap"):
        probe(path)


def two_sounds(path, second_is_default, cover=False):
    """A film whose second sound is twice as high; with a cover before its pictures."""
    with av.open(str(path), "w") as film:
        if cover:
            first = film.add_stream("mjpeg", rate=1)
            first.width, first.height, first.pix_fmt = 640, 480, "yuvj420p"
            first.disposition = Disposition.attached_pic
        picture = film.add_stream("libx264", rate=25)
        picture.width, picture.height, picture.pix_fmt = *SIZE, "yuv420p"
        sounds = [film.add_stream("aac", rate=48_000, layout="mono") for _ in range(2)]
        sounds[0].disposition = 0 if second_is_default else Disposition.default
        sounds[1].disposition = Disposition.default if second_is_default else 0
        if cover:
            blank = av.VideoFrame.from_ndarray(np.full((480, 640, 3), 200, np.uint8), "rgb24")
            film.mux(first.encode(blank.reformat(format="yuvj420p")))
        for number in range(75):
            film.mux(picture.encode(av.VideoFrame.from_ndarray(numbered(number), "rgb24")))
        film.mux(picture.encode())
        for stream, pitch in zip(sounds, (500, 1000), strict=True):
            for start in range(0, 3 * 48_000 - 1024, 1024):
                wave = 0.5 * np.sin(2 * np.pi * pitch * (start + np.arange(1024)) / 48_000)
                frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), "fltp", "mono")
                frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), start
                film.mux(stream.encode(frame))
            film.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
@pytest.mark.parametrize("second", [False, True])
def test_the_sound_is_the_default_one_as_in_players(tmp_path, second, suffix):
    path = two_sounds(tmp_path / f"film.{suffix}", second)
    sound = Sound(path, probe(path).sound).span(0, 2)
    pitch = np.argmax(np.abs(np.fft.rfft(sound))) / 2
    assert pitch == pytest.approx(1000 if second else 500, abs=2)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_cover_is_not_the_film(tmp_path, suffix):
    path = two_sounds(tmp_path / f"film.{suffix}", False, cover=True)
    assert (probe(path).picture.width, probe(path).picture.height) == SIZE
    assert [number_of(picture) for picture in read(path, 3).frame] == [0, 25, 50]


@needs_ffmpeg
def test_picture_and_sound_are_of_one_program(tmp_path):
    first = write_film(tmp_path / "first.mp4", rate=25)
    second = write_film(tmp_path / "second.mp4", rate=25, layout="5.1", sound_start=0.5)
    path = tmp_path / "both.ts"
    # The other program's sound has more channels, and comes first.
    maps = [value for stream in ("1:a", "0:v", "0:a", "1:v") for value in ("-map", stream)]
    programs = ["-program", "title=A:st=1:st=2", "-program", "title=B:st=0:st=3"]
    ffmpeg("-i", first, "-i", second, *maps, "-c", "copy", *programs, path)
    info = probe(path)
    with av.open(str(path)) as film:
        assert info.picture.stream == next(s.index for s in film.streams if s.type == "video")
        layouts = [s.layout.name for s in film.streams if s.index == info.sound.stream]
    assert layouts == ["stereo"]


def halved(path, factor):
    """Change the length that a Matroska header states."""
    content = path.read_bytes()
    place = content.index(b"\x44\x89\x88") + 3
    stated = struct.unpack(">d", content[place : place + 8])[0]
    path.write_bytes(content[:place] + struct.pack(">d", stated * factor) + content[place + 8 :])
    return path


def halved_mp4(path):
    content = bytearray(path.read_bytes())
    for box, offset in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        place = content.find(box)
        while place >= 0:
            where = slice(place + offset, place + offset + 4)
            content[where] = struct.pack(">I", struct.unpack(">I", content[where])[0] // 2)
            place = content.find(box, place + 1)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_header_that_says_half_the_length_blackens_nothing(tmp_path, suffix):
    path = write_film(tmp_path / f"film.{suffix}", seconds=8, rate=25)
    path = halved(path, 0.5) if suffix == "mkv" else halved_mp4(path)
    assert probe(path).duration == pytest.approx(8, abs=0.1)
    numbers = [number_of(picture) for picture in read(path, 8).frame]
    assert numbers == pytest.approx(list(range(0, 200, 25)), abs=1)


def test_a_header_that_says_more_than_there_is_is_refused(tmp_path):
    path = halved(write_film(tmp_path / "film.mkv", rate=25), 2)
    with pytest.raises(
        UserError, match=r"film\.mkv: ends at 6\.. s, its header says 12\.. s: is it cut short\?"
    ):
        probe(path)


@pytest.mark.parametrize("shown", [3, 9])
def test_sound_may_be_shorter_or_longer_than_the_picture(tmp_path, shown):
    whole = write_film(tmp_path / "whole.mp4", seconds=9, rate=25)
    path = tmp_path / "film.mkv"
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        streams = [target.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            stop = shown if packet.stream.type == "video" else 12 - shown
            if packet.dts is not None and packet.pts * packet.time_base < stop:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    info = probe(path)
    assert info.duration == pytest.approx(shown, abs=0.1)
    assert info.sound.end == pytest.approx(12 - shown, abs=0.1)
    read(path, 9)


@pytest.mark.parametrize("name", ["film.mkv", "film.avi", "film.flv", "film.mp4", "fragments.mp4"])
def test_what_is_cut_short_is_refused(tmp_path, name):
    container = {"movflags": "frag_keyframe+empty_moov"} if name == "fragments.mp4" else None
    sound = "libmp3lame" if name.endswith("avi") else "aac"
    path = write_film(tmp_path / name, rate=25, b_frames=0, sound_codec=sound, container=container)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(UserError, match=name):
        read(path, 6)


@needs_ffmpeg
def test_pictures_that_change_their_shape_are_refused(tmp_path):
    for shape in ("4:3", "16:9"):
        source = ["-f", "lavfi", "-i", "testsrc=s=160x96:r=25:d=3", "-c:v", "mpeg2video", "-aspect", shape]
        ffmpeg(*source, "-f", "mpeg2video", tmp_path / f"{shape[:2]}.m2v")
    both = b"".join((tmp_path / name).read_bytes() for name in ("4:.m2v", "16.m2v"))
    (tmp_path / "both.m2v").write_bytes(both)
    path = tmp_path / "film.ts"
    ffmpeg("-fflags", "+genpts", "-r", 25, "-i", tmp_path / "both.m2v", "-c", "copy", path)
    with pytest.raises(
        UserError, match=r"film\.ts: its pictures change their shape near 3\.\d s; convert it"
    ):
        read(path, 6)


def test_recordings_joined_without_care_are_refused_in_time(tmp_path):
    path = write_film(tmp_path / "film.ts", rate=25)
    path.write_bytes(2 * path.read_bytes())
    began = time.monotonic()
    with pytest.raises(
        UserError, match=r"film\.ts: the clock of its picture jumps by -.* convert it: ffmpeg"
    ):
        probe(path)
    assert time.monotonic() - began < 5


@needs_ffmpeg
def test_the_command_that_is_given_repairs_the_film(tmp_path):
    path = write_film(tmp_path / "a film.ts", rate=25)
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(UserError) as refused:
        probe(path)
    command = str(refused.value).split("convert it: ")[1]
    subprocess.run(command.replace("ffmpeg", "ffmpeg -v quiet", 1), shell=True, cwd=tmp_path, check=True)
    (converted,) = tmp_path.glob("*converted.mp4")
    assert probe(converted).duration == pytest.approx(12, abs=0.2)
    read(converted)


def test_a_clock_that_starts_over_after_26_hours_is_followed(tmp_path):
    plain = write_film(tmp_path / "plain.ts", rate=25)
    path = tmp_path / "film.ts"
    with av.open(str(plain)) as source, av.open(str(path), "w") as target:
        streams = [target.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            if packet.dts is not None:
                shift = 2**33 - 90_000 * 4
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    np.testing.assert_array_equal(read(path, 6).frame, read(plain, 6).frame)


def test_pictures_that_change_their_size_are_refused(tmp_path):
    path = tmp_path / "film.ts"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for size, begin in ((SIZE, 0), ((320, 240), 50)):
            encoder = av.CodecContext.create("mpeg2video", "w")
            encoder.width, encoder.height, encoder.pix_fmt = *size, "yuv420p"
            encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
            frames = [av.VideoFrame(*size, "yuv420p") for _ in range(50)]
            for number, frame in enumerate(frames):
                frame.pts, frame.time_base = begin + number, Fraction(1, 25)
            for packet in [p for frame in [*frames, None] for p in encoder.encode(frame)]:
                packet.stream = stream
                film.mux(packet)
    with pytest.raises(UserError, match=r"its pictures change from 160 x 96 to 320 x 240 pixels at 2\.0 s"):
        read(path, 4)


@pytest.mark.parametrize("name", ["a:b.mp4", "ä %03d [1].mp4", "-i.mp4", "http:film.mp4"])
def test_any_file_name_will_do(tmp_path, name):
    plain = write_film(tmp_path / "plain.mp4", seconds=2)
    path = plain.rename(tmp_path / name)
    assert probe(path).duration == pytest.approx(2)


@pytest.mark.parametrize("content", [b"", b"\0" * 1000, b"#EXTM3U\nhttp://nowhere/x.ts\n", b"text"])
def test_what_is_no_film_is_said_to_be_none(tmp_path, content):
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"film\.mp4: cannot be read as a film|film\.mp4: has no picture"):
        probe(path)
    with pytest.raises(UserError, match=r"is not a file"):
        probe(tmp_path)
    with pytest.raises(UserError, match=r"is not a file"):
        probe(tmp_path / "nothing.mp4")


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi", "mpg"])
def test_damage_is_a_message_or_is_read_through(tmp_path, suffix):
    """What a mutated file raises is a UserError with its name, whatever FFmpeg raised."""
    codecs = {"avi": ("mpeg4", "libmp3lame"), "mpg": ("mpeg2video", "mp2")}
    codec, sound = codecs.get(suffix, ("libx264", "aac"))
    content = write_film(
        tmp_path / f"film.{suffix}", seconds=2, rate=25, codec=codec, sound_codec=sound
    ).read_bytes()
    rng = np.random.default_rng(0)
    path, messages = tmp_path / f"mutated.{suffix}", []
    for kind in range(30):
        mutated = bytearray(content)
        places = rng.integers(0, len(content), 30) if kind % 2 else rng.integers(0, 2000, 5)
        for place in places:
            mutated[place] = rng.integers(256)
        if kind % 5 == 4:
            del mutated[len(content) // 3 : len(content) // 2]
        path.write_bytes(mutated)
        try:
            read(path, 2)
        except UserError as error:
            messages.append(str(error))
    assert messages
    assert all(str(path) in message for message in messages)


def test_tones_are_where_they_belong_whatever_the_codec_delays(tmp_path):
    path = write_film(tmp_path / "film.mkv", sound_codec="libopus")
    sound = Sound(path, probe(path).sound).span(0, 6)
    written = tones(6, AUDIO_RATE)
    shift = np.argmax(np.correlate(sound, written[: 5 * AUDIO_RATE], "valid")[:800]) / AUDIO_RATE
    assert shift < 0.012
