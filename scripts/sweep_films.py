"""Films of many codecs, containers, cuts and faults through simdata's decoder, against ffmpeg's own pictures.

Each film's picture shows its own time: the second as the grey level of its left half, 1/25 s in its right.
For each second, what simdata shows is compared with the picture that ffmpeg decodes and ffprobe says is on
screen. Films whose pictures ffprobe does not list one by one have no oracle, and are counted apart.

    python scripts/sweep_films.py --folder films --out films.json      # needs ffmpeg; minutes on two cores
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from simdata.common import json_text
from simdata.common.errors import UserError
from simdata.common.film_clock import block_bounds
from simdata.films.blocks import stimulus_blocks

SECONDS, CUT = 22, 8
SIZE = (72, 128)
LEVELS = 5.5  # grey levels: a step of the film's own clock is 8 (1/25 s) or 3 (a second)
X264 = "-c:v libx264 -preset veryfast -crf 12"
LONG_GROUP = f"{X264} -g 250 -keyint_min 250 -sc_threshold 0 -bf 3"
VIDEO = {
    "h264": X264,
    "h264-long-group": LONG_GROUP,
    "h264-open-group": f"{X264} -g 30 -x264-params open-gop=1:bframes=5:b-pyramid=normal:scenecut=0",
    "h264-intra": f"{X264} -g 1",
    "h264-10bit": f"{X264} -pix_fmt yuv420p10le",
    "hevc-open-group": "-c:v libx265 -preset ultrafast -crf 12 "
    "-x265-params log-level=none:keyint=48:min-keyint=48:open-gop=1:bframes=4",
    "av1": "-c:v libsvtav1 -preset 12 -crf 20",
    "vp8": "-c:v libvpx -b:v 2M -deadline realtime",
    "vp9": "-c:v libvpx-vp9 -b:v 1M -deadline good -cpu-used 5 -auto-alt-ref 1 -lag-in-frames 25",
    "mpeg1": "-c:v mpeg1video -q:v 2 -bf 2",
    "mpeg2": "-c:v mpeg2video -q:v 2 -bf 2 -g 15",
    "mpeg4": "-c:v mpeg4 -q:v 2",
    "mpeg4-b": "-c:v mpeg4 -q:v 2 -bf 2 -g 50",
    "mjpeg": "-c:v mjpeg -q:v 2",
    "prores": "-c:v prores_ks",
    "theora": "-c:v libtheora -q:v 9",
    "wmv2": "-c:v wmv2 -q:v 2",
}
AUDIO = {"ts": "aac", "mpg": "mp2", "vob": "ac3", "avi": "libmp3lame", "mov": "pcm_s16le", "webm": "libopus"}
AUDIO |= {"ogv": "libvorbis", "asf": "wmav2", "m2ts": "ac3"}
CONTAINERS = {
    "mp4": "h264 h264-long-group h264-open-group h264-intra h264-10bit hevc-open-group av1 mpeg4-b",
    "mkv": "h264 h264-long-group hevc-open-group mpeg2 vp8 vp9 mpeg4-b mjpeg theora",
    "ts": "h264-long-group h264-open-group hevc-open-group mpeg2",
    "m2ts": "h264",
    "mpg": "mpeg1 mpeg2",
    "vob": "mpeg2",
    "avi": "h264 mpeg4 mpeg4-b mjpeg",
    "mov": "h264 prores mjpeg",
    "webm": "vp8 vp9",
    "ogv": "theora",
    "flv": "h264",
    "asf": "wmv2",
}
RATES = ["12", "15", "24000/1001", "30000/1001", "30", "60"]
CUTS = [0.04, 3.48, 9.2, 13.52]
CUT_FROM = {  # film: containers that its cuts are copied to
    "h264.mp4": ["mp4", "mkv", "ts"],
    "h264-long-group.mp4": ["mp4", "mkv", "ts"],
    "h264-open-group.mp4": ["mp4", "mkv"],
    "hevc-open-group.mp4": ["mp4", "mkv", "ts"],
    "mpeg4-b.mp4": ["mp4", "mkv"],
    "h264-long-group.mkv": ["mp4", "mkv", "ts"],
    "h264-long-group.ts": ["mp4", "mkv", "ts"],
    "mpeg2.ts": ["ts"],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where the films are made, and kept (default: not kept)")
    parser.add_argument("--out", type=Path, help="JSON with the verdict on each film")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = {film.name: judge(film) for film in films(folder)}
    counts = Counter(verdict for verdict, _ in found.values())
    for name, (verdict, why) in found.items():
        if verdict != "right":
            print(f"{verdict:10} {name}: {why}")
    print(", ".join(f"{counts[verdict]} {verdict}" for verdict in ("right", "refused", "wrong", "no oracle")))
    if arguments.out:
        json_text.write(arguments.out, {"counts": counts, "films": found})


def films(folder: Path) -> Iterator[Path]:
    """Make the films that are not there yet."""
    for container, codecs in CONTAINERS.items():
        for codec in codecs.split():
            yield make(folder / f"{codec}.{container}", VIDEO[codec])
    for rate in RATES:
        yield make(folder / f"rate-{rate.replace('/', '-')}.mp4", X264, rate)
    yield make(folder / "fragmented.mp4", f"{LONG_GROUP} -movflags +frag_keyframe+empty_moov")
    yield make(folder / "index-first.mp4", f"{X264} -movflags +faststart")
    yield make(folder / "silent.mp4", f"{X264} -an")
    for name, containers in CUT_FROM.items():
        for start in CUTS:
            for container in containers:
                cut = folder / f"cut-{start}-{name.replace('.', '-')}.{container}"
                yield ffmpeg(cut, "-ss", start, "-i", folder / name, "-t", CUT, "-c", "copy")
    yield from _two_clocks(folder)
    for name in ("h264-long-group.ts", "h264-open-group.ts", "hevc-open-group.ts", "mpeg2.ts"):
        yield from _parts(folder, name)
    joined, parts = folder / "joined.ts", ("h264-long-group.ts", "h264-open-group.ts")
    joined.write_bytes(b"".join((folder / part).read_bytes() for part in parts))
    yield joined


def _two_clocks(folder: Path) -> Iterator[Path]:
    """Picture or sound that begins later than the other, and pictures at irregular times."""
    source = folder / "h264.mp4"
    late, both = ["-itsoffset", 0.7, "-i", source], "-map 0:v -map 1:a -c copy"
    for container in ("mp4", "mkv"):
        yield ffmpeg(folder / f"late-picture.{container}", *late, "-i", source, *both.split())
        yield ffmpeg(folder / f"late-sound.{container}", "-i", source, *late, *both.split())
    varying = ["-vf", "select='not(mod(n,3))+lt(mod(n,50),10)'", "-fps_mode", "vfr", *X264.split()]
    yield ffmpeg(folder / "varying-rate.mp4", "-i", source, *varying, "-c:a", "copy")
    yield ffmpeg(folder / "varying-rate.mkv", "-i", folder / "varying-rate.mp4", "-c", "copy")


def make(film: Path, options: str, rate: str = "25") -> Path:
    """Encode the film that shows its own time, with a tone whose pitch tells the second."""
    clock = "if(lt(X,W/2),16+3*floor(T+0.0001),16+8*floor(25*mod(T+0.0001,1)))"
    grey = f"color=gray:s={SIZE[1]}x{SIZE[0]}:r={rate}:d={SECONDS},format=yuv420p"
    tone = f"aevalsrc='0.5*sin(2*PI*(300+40*floor(t))*t)':s=48000:d={SECONDS}:c=mono"
    sources = ["-f", "lavfi", "-i", f"{grey},geq=lum='{clock}':cb=128:cr=128", "-f", "lavfi", "-i", tone]
    sound = [] if "-an" in options else ["-c:a", AUDIO.get(film.suffix[1:], "aac")]
    return ffmpeg(film, *sources, *options.split(), *sound, "-shortest")


def ffmpeg(film: Path, *arguments: object) -> Path:
    if not film.exists():
        command = ["ffmpeg", "-v", "error", "-y", *map(str, arguments), str(film)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return film


def _parts(folder: Path, name: str) -> Iterator[Path]:
    """A transport stream from its middle on, with a hole, and cut off within a packet."""
    content, third = (folder / name).read_bytes(), (folder / name).stat().st_size // 188 // 3 * 188
    parts = {"begun": content[third:], "hole": content[:third] + content[third * 3 // 2 // 188 * 188 :]}
    for what, part in (parts | {"off": content[: 2 * third + 77]}).items():
        film = folder / f"{what}-{name}"
        film.write_bytes(part)
        yield film


def judge(film: Path) -> tuple[str, str]:
    """ "right", "refused", "wrong" or "no oracle", with the reason; if right, with how long it took."""
    times, pictures = shown_by_ffmpeg(film)
    seconds = int(times[-1]) + 1 if len(times) else 2
    begun = time.monotonic()
    try:
        blocks = list(stimulus_blocks(film, [], block_bounds(seconds), SIZE, waveform=True))
    except UserError as error:
        return "refused", str(error)
    took = time.monotonic() - begun
    if not len(times) or len(times) != len(pictures):
        return "no oracle", f"ffmpeg decodes {len(pictures)} pictures and lists {len(times)} times"
    ours = np.concatenate([block.frame for block in blocks]).mean(axis=-1)
    wrong = []
    for second in range(seconds):
        number = np.searchsorted(times, second + 5e-4, side="right") - 1
        true = pictures[number] if number >= 0 else np.zeros(SIZE, np.uint8)
        if np.abs(_clock(ours[second]) - _clock(true)).max() > LEVELS:
            wrong.append(second)
    return ("wrong", f"seconds {wrong}") if wrong else ("right", f"{took:.1f} s")


def shown_by_ffmpeg(film: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times of the pictures in s from when a player begins, and (n, y, x) uint8 grey pictures."""
    times, sound = (_times(film, kind) for kind in "va")
    command = ["ffmpeg", "-v", "error", "-i", str(film), "-map", "0:v:0", "-vf", f"scale={SIZE[1]}:{SIZE[0]}"]
    command += ["-pix_fmt", "gray", "-f", "rawvideo", "-fps_mode", "passthrough", "-"]
    decoded = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL).stdout
    pictures = np.frombuffer(decoded, np.uint8).reshape(-1, *SIZE)
    return times - min([*times[:1], *sound[:1]], default=0), pictures


def _times(film: Path, kind: str) -> np.ndarray:
    command = ["ffprobe", "-v", "error", "-select_streams", f"{kind}:0", "-show_entries"]
    command += ["frame=best_effort_timestamp_time", "-of", "json", str(film)]
    frames = json.loads(subprocess.run(command, capture_output=True).stdout or "{}").get("frames", [])
    return np.array([float(f[t]) for f in frames if (t := "best_effort_timestamp_time") in f])


def _clock(picture: np.ndarray) -> np.ndarray:
    """Grey levels of the middles of both halves."""
    return np.array([picture[20:52, 16:48].mean(), picture[20:52, 80:112].mean()])


if __name__ == "__main__":
    main()
