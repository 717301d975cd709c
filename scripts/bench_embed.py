"""How long a film takes from mp4 to what the encoders' models get, against cutting clips as published.

Both sides run here, one after the other, each in a process of its own, on the same 1080p film with sound:

* ours: `simdata.films.blocks.stimulus_blocks`, one decode for a video and an audio encoder;
* published: every 3-s clip is cut to an mp4 and a wav (ffmpeg), which each encoder reads back.

Then decoding alone: the pipeline without models against a bare loop over decord. With --forward also: a
model's forward inside its encoder against the same batches straight through the model.

--resize does nothing of that: it times decoding with pictures resized as publishers do it (resize=exact) and
by FFmpeg (resize=fast), in turn, of a 1080p and a 360p film, and VideoMAE-base's forward beside it.

    python scripts/bench_embed.py --seconds 60 --forward --out bench_embed.json
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import torch
from scipy.io import wavfile

from simdata.common import json_text
from simdata.common.film_clock import AUDIO_RATE, block_bounds
from simdata.encoders import AudioEncoder, Grid, VideoEncoder, uniform_frames
from simdata.encoders.preprocessing import IMAGENET, Preprocessing
from simdata.films.blocks import stimulus_blocks

WINDOW, FRAMES, SIZE, RATE = 3, 16, 224, 24
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def import_decord():
    """The rival, without harm: on import, decord2 3.4 loads every library of the installed nvidia-* packages,
    and one of them, nvblas, takes over the BLAS calls of torch and crashes it where there is no GPU."""
    find_spec = importlib.util.find_spec
    importlib.util.find_spec = lambda name, package=None: (
        None if name == "nvidia" else find_spec(name, package)
    )
    try:
        import decord
    finally:
        importlib.util.find_spec = find_spec
    return decord


class ModelInput(VideoEncoder):
    """What VideoMAE's model gets, without the model: normalised (rows, 16, 224, 224, 3), each used once."""

    encoder, features = "model_input", 1

    def __init__(self) -> None:
        super().__init__()
        rate, phase, self._index = uniform_frames(FRAMES, self.window)
        self.grid = Grid(rate, (SIZE, SIZE), "crop", phase)

    def encode(self, span: np.ndarray, starts: np.ndarray) -> np.ndarray:
        rows = []
        for some in np.array_split(starts, max(1, len(starts) // 8)):
            first = some[0] * FRAMES
            pictures = normalised(torch.from_numpy(span[first : (some[-1] + self.window) * FRAMES]))
            for start in some:
                rows.append(pictures[start * FRAMES - first + self._index].sum())
        return torch.stack(rows)[:, None].numpy()

    def parameters(self) -> dict:
        return {}


class SoundInput(AudioEncoder):
    """What wav2vec 2.0 gets, without the model."""

    encoder, features = "sound_input", 1

    def encode(self, span: np.ndarray, starts: np.ndarray) -> np.ndarray:
        windows = torch.from_numpy(span).unfold(0, self.window * AUDIO_RATE, AUDIO_RATE)[starts]
        return windows.square().sum(dim=1, keepdim=True).numpy()

    def parameters(self) -> dict:
        return {}


class Unused(VideoEncoder):
    """The same pictures, decoded for nothing."""

    encoder, features = "unused", 1

    def __init__(self, resize: str = "fast") -> None:
        super().__init__()
        prepared = Preprocessing(SIZE, (SIZE, SIZE), "bilinear", *IMAGENET)
        self.grid, _ = prepared.grid(self.encoder, resize, rate=FRAMES, phase=0.5)

    def encode(self, span: np.ndarray, starts: np.ndarray) -> np.ndarray:
        return np.zeros((len(starts), 1), np.float32)

    def parameters(self) -> dict:
        return {}


def normalised(pictures: torch.Tensor) -> torch.Tensor:
    return (pictures.float() / 255 - MEAN) / STD


def ours(film: Path, seconds: int) -> int:
    blocks = stimulus_blocks(film, [ModelInput(), SoundInput()], block_bounds(seconds))
    return sum(int(np.isfinite(block.embeddings["video_model_input"]).sum()) for block in blocks)


def decode(film: Path, seconds: int, resize: str = "fast") -> int:
    blocks = stimulus_blocks(film, [Unused(resize)], block_bounds(seconds))
    return sum(len(block.embeddings["video_unused"]) for block in blocks)


def exact(film: Path, seconds: int) -> int:
    return decode(film, seconds, "exact")


def published(film: Path, seconds: int) -> int:
    """Clip by clip, as the published scripts do it: cut, write, read back for each encoder."""
    with tempfile.TemporaryDirectory() as folder:
        rows = 0
        for start in range(seconds - WINDOW + 1):
            clip, sound = Path(folder) / f"{start}.mp4", Path(folder) / f"{start}.wav"
            cut = ["ffmpeg", "-loglevel", "error", "-ss", str(start), "-t", str(WINDOW), "-i", str(film)]
            subprocess.run([*cut, "-c:v", "libx264", "-c:a", "aac", str(clip)], check=True)
            mono = ["-vn", "-ac", "1", "-ar", str(AUDIO_RATE)]
            subprocess.run(["ffmpeg", "-loglevel", "error", "-i", str(clip), *mono, str(sound)], check=True)
            reader = import_decord().VideoReader(str(clip))
            index = np.linspace(0, len(reader) - 1, FRAMES).astype(int)
            pictures = torch.from_numpy(reader.get_batch(index).asnumpy()).permute(0, 3, 1, 2).float()
            scale = SIZE / min(pictures.shape[2:])
            pictures = torch.nn.functional.interpolate(pictures, scale_factor=scale, mode="bilinear")
            left = (pictures.shape[3] - SIZE) // 2
            normalised(pictures[:, :, :SIZE, left : left + SIZE].permute(0, 2, 3, 1)).sum()
            torch.from_numpy(wavfile.read(sound)[1] / 32_768).square().sum()
            rows += 1
    return rows


def bare_decode(film: Path, seconds: int) -> int:
    """Every picture that the encoders' grid needs, through decord and away."""
    with av.open(str(film)) as container:
        width = round(container.streams.video[0].width * SIZE / container.streams.video[0].height)
    reader = import_decord().VideoReader(str(film), width=width, height=SIZE)
    times = (np.arange(seconds * FRAMES) + 0.5) / FRAMES
    needed = np.unique(np.floor(times * RATE).astype(int))
    for first in range(0, len(needed), 64):
        reader.get_batch(needed[first : first + 64]).asnumpy()
    return len(needed)


def measured(side: Callable[[Path, int], int], film: Path, seconds: int) -> dict[str, float]:
    """Seconds and peak memory (MB, with that of its children) of a side in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_measure, (side, film, seconds))


def _measure(side: Callable[[Path, int], int], film: Path, seconds: int) -> dict[str, float]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    rows = side(film, seconds)
    took = time.perf_counter() - began
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"rows": rows, "seconds": took, "peak_mb": (own + children) / 1024, "start_mb": before / 1024}


def forward(batch: int, repeats: int) -> dict[str, float]:
    """Windows a second of VideoMAE-base (random weights) inside its encoder, and straight."""
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    from simdata.encoders import create

    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        config = VideoMAEConfig(use_mean_pooling=True, num_labels=2)
        VideoMAEForVideoClassification(config).save_pretrained(folder)
        encoder = create(f"videomae,weights={folder},batch_size={batch}")
        model = VideoMAEForVideoClassification.from_pretrained(folder).eval()
    span = np.random.default_rng(0).integers(0, 255, ((batch + 2) * FRAMES, SIZE, SIZE, 3), dtype=np.uint8)
    pixels = torch.randn(batch, FRAMES, 3, SIZE, SIZE)

    def straight() -> None:
        with torch.inference_mode():
            model(pixels)

    def inside() -> None:
        encoder.encode(span, np.arange(batch))

    times: dict[str, list[float]] = {"straight": [], "inside": []}
    for _ in range(repeats):
        for name, call in (("straight", straight), ("inside", inside)):
            began = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - began)
    straight_s, inside_s = (statistics.median(times[name]) for name in ("straight", "inside"))
    return {"straight": batch / straight_s, "inside": batch / inside_s, "ratio": straight_s / inside_s}


def resizing(folder: Path, seconds: int, repeats: int) -> dict:
    """Seconds to decode with each way of resizing, by the film's height."""
    found = {}
    for width, height in ((1920, 1080), (640, 360)):
        film = folder / f"{height}.mp4"
        make_film(film, seconds, width, height)
        times: dict[str, list[float]] = {"decode": [], "exact": []}
        for _ in range(repeats):
            for side in (decode, exact):
                times[side.__name__].append(measured(side, film, seconds)["seconds"])
        fast, slow = (statistics.median(times[name]) for name in ("decode", "exact"))
        found[height] = {"fast": fast, "exact": slow}
        print(f"{height}p: {found[height]}", file=sys.stderr)
    return found


def make_film(path: Path, seconds: int, width: int = 1920, height: int = 1080) -> None:
    """24 fps, H.264 and AAC: a drifting texture that changes every four seconds."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as film:
        picture = film.add_stream("libx264", rate=RATE, options={"crf": "23", "preset": "veryfast"})
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        sound = film.add_stream("aac", rate=48_000, layout="stereo")
        for number in range(seconds * RATE):
            if number % (4 * RATE) == 0:
                scene = rng.integers(0, 255, (175, 280, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            shift = 3 * (number % (4 * RATE))
            image = np.ascontiguousarray(scene[shift : shift + height, shift : shift + width])
            film.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        film.mux(picture.encode())
        samples = (0.2 * rng.standard_normal((2, seconds * 48_000))).astype(np.float32)
        for start in range(0, samples.shape[1], 1024):
            chunk = np.ascontiguousarray(samples[:, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(chunk, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 48_000, start
            film.mux(sound.encode(frame))
        film.mux(sound.encode())


def compare(film: Path, seconds: int, repeats: int) -> dict:
    runs: dict[str, list[dict]] = {"ours": [], "published": [], "decode": [], "bare_decode": []}
    for repeat in range(repeats):
        for side in (ours, decode, bare_decode, *((published,) if repeat == 0 else ())):
            runs[side.__name__].append(measured(side, film, seconds))
            print(f"{side.__name__}: {runs[side.__name__][-1]}", file=sys.stderr)
    median = {name: statistics.median(run["seconds"] for run in found) for name, found in runs.items()}
    return {
        "runs": runs,
        "published_over_ours": median["published"] / median["ours"],
        "peak_memory_published_over_ours": runs["published"][0]["peak_mb"] / runs["ours"][0]["peak_mb"],
        "decode_ours_over_bare": median["bare_decode"] / median["decode"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument(
        "--repeats", type=int, default=3, help="of ours and the bare decode; the median counts"
    )
    parser.add_argument(
        "--forward", action="store_true", help="also time VideoMAE-base's forward (slow on a CPU)"
    )
    parser.add_argument("--resize", action="store_true", help="time the ways of resizing instead")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        parser.error("the published side needs the program ffmpeg")
    result = {
        "seconds_of_film": options.seconds,
        "cores": torch.get_num_threads(),
        "machine": platform.machine(),
    }
    with tempfile.TemporaryDirectory() as folder:
        if options.resize:
            result["decoding_seconds"] = resizing(Path(folder), options.seconds, options.repeats)
        else:
            film = Path(folder) / "film.mp4"
            make_film(film, options.seconds)
            result |= compare(film, options.seconds, options.repeats)
    if options.forward or options.resize:
        result["forward_windows_per_second"] = forward(options.batch, options.repeats)
    if options.resize:
        model = options.seconds / result["forward_windows_per_second"]["straight"]
        for height, times in result["decoding_seconds"].items():
            more = times["exact"] - times["fast"]
            ratio, share = times["exact"] / times["fast"], more / model
            print(f"{height}p: decoding with exact takes {ratio:.2f} x the time of fast, {more:.1f} s more;")
            print(f"  VideoMAE-base takes {model:.0f} s of the same film: {share:.2%} of that")
    else:
        print(f"published / ours, outside the models: {result['published_over_ours']:.1f} x the time")
        print(f"decoding, ours / bare decord: {result['decode_ours_over_bare']:.2f} x the speed")
    if options.forward:
        print(f"forward, inside / straight: {result['forward_windows_per_second']['ratio']:.2f} x the speed")
    text = json_text.dumps(result, indent=2)
    if options.out:
        options.out.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
