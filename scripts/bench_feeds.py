"""What each feed delivers, beside plain memory copies, and what it takes to make training samples of it.

All sides take turns in one run, on a synthetic store that is made for it (int8, shards as `simdata build`
writes them); medians of the rounds count. Rates are by the clock, and per second of processor time, which is
what a core gives where others use the machine too.

* copy: numpy.copyto of one large array to another, in as many threads;
* device, memory, stream: batches of random windows to a step that costs nothing;
* samples: the same, each batch decoded, z-scored, in patches, with its video and audio features;
* step: decode, z-score and patches alone, by `simtrain.models.input` and by a few plain lines of torch.

    python scripts/bench_feeds.py --threads 1,2 --out bench_feeds.json
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
import zarr
from torch import Tensor
from zarr.codecs import Crc32cCodec

from simdata.common import json_text
from simdata.store import BoldReader
from simtrain.data.dataset import Dataset, Embedding
from simtrain.data.features import Stimuli
from simtrain.data.feeds import Device, Feed, Memory, Scans, Stream
from simtrain.data.feeds.team import Team
from simtrain.data.windows import SAMPLE
from simtrain.models.input import FramePatches
from simtrain.surface.patches import patch_vertices

VERTICES, HEMISPHERES, FRAMES = 40962, 2, 3
FEATURES = {"video": 768, "audio": 768}
COPIED = 2**28  # bytes of the plain copy: far more than any cache


class Rate(NamedTuple):
    """Windows, or samples, a second by the clock, and a second of processor time."""

    clock: float
    core: float


def make_store(folder: Path, subjects: int, seconds: int) -> Dataset:
    """``bold`` of a store with one film, and of the rest what feeds and samples need."""
    rng = np.random.default_rng(0)
    shape = (subjects, 1, seconds, HEMISPHERES, VERTICES)
    bold = zarr.create_array(
        folder / "bold",
        shape=shape,
        dtype="int8",
        chunks=(1, 1, 1, 1, VERTICES),
        shards=(1, 1, seconds, 1, VERTICES),
        compressors=(Crc32cCodec(),),
        fill_value=-128,
    )
    cortex = rng.random((HEMISPHERES, VERTICES)) < 0.92
    for subject in range(subjects):
        z = rng.integers(-60, 60, shape[2:], dtype=np.int8)
        bold[subject, 0] = np.where(cortex, z, np.int8(-128))
    everywhere = np.ones((1, seconds), np.int8)
    return Dataset(
        path=folder,
        subjects=[str(subject) for subject in range(subjects)],
        subject_split=np.ones(subjects, np.int8),
        volumes=np.array([seconds]),
        complete=np.ones((subjects, 1), bool),
        run=np.ones((subjects, 1, seconds), np.int16),
        reach=np.zeros(1, int),
        film=np.arange(1),
        segment=everywhere,
        scene_split=everywhere,
        cortex=cortex,
        lag=6,
        encoders={},
        identity={},
        view=xr.Dataset(),
    )


def draw(dataset: Dataset, size: int, batches: int) -> list[tuple[np.ndarray, None]]:
    """Random samples."""
    rng = np.random.default_rng(1)
    samples = np.zeros((batches, size), SAMPLE)
    samples["subject"] = rng.integers(0, len(dataset.subjects), samples.shape)
    samples["second"] = rng.integers(6, dataset.volumes[0] - FRAMES, samples.shape)
    samples["clip"] = samples["second"] - 6
    samples["hemisphere"] = rng.integers(0, HEMISPHERES, samples.shape)
    return [(batch, None) for batch in samples]


def plain(frames: FramePatches, stored: Tensor, hemisphere: Tensor) -> Tensor:
    """What `FramePatches` gives, as a few lines of torch say it."""
    cortex = frames.cortex.float()[hemisphere][:, None]
    count = cortex.sum(dim=-1, keepdim=True)
    values = torch.where(cortex > 0, stored.float(), 0.0)
    values.sub_(values.sum(dim=-1, keepdim=True) / count).mul_(cortex)
    values.div_((values.square().sum(dim=-1, keepdim=True) / count).sqrt_())
    gathered = values.transpose(1, 2)[:, frames.vertices]
    return gathered.reshape(len(stored), frames.shape[0], -1)


class Maker:
    """From the windows of a batch to what the model takes of it."""

    def __init__(self, dataset: Dataset, ico: int, device: torch.device) -> None:
        rng, seconds = np.random.default_rng(2), int(dataset.volumes[0])
        embeddings = {
            modality: Embedding(modality, rng.standard_normal((1, seconds, features), dtype=np.float32), 3)
            for modality, features in FEATURES.items()
        }
        self.frames = FramePatches(dataset.cortex, patch_vertices(ico)).to(device)
        self._stimuli, self._device = Stimuli(embeddings).to(device), device

    def __call__(self, samples: np.ndarray, stored: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        patches = self.frames(stored, self._index(samples["hemisphere"]))
        return patches, self._stimuli(self._index(samples["movie"]), self._index(samples["clip"]))

    def _index(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.int64)).to(self._device, non_blocking=True)


def rate(work: Callable[[], object], count: int, device: torch.device) -> Rate:
    clock, core = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return Rate(count / (time.perf_counter() - clock), count / (time.process_time() - core))


def sides(options: argparse.Namespace, dataset: Dataset) -> Iterator[tuple[str, Callable[[], Rate]]]:
    """All that is measured, by name."""
    device = torch.device(options.device)
    reader, asked = BoldReader(dataset.path), draw(dataset, options.batch, options.batches)
    everything = np.concatenate([samples for samples, _ in asked])
    runs, maker = Scans(everything, dataset, reader), Maker(dataset, options.ico, device)
    window = FRAMES * VERTICES
    source, target = np.ones(COPIED, np.uint8), np.zeros(COPIED, np.uint8)
    feeds: dict[tuple[str, int], Feed] = {}
    resident = Device(runs, FRAMES, device)
    for threads in options.threads:
        feeds["device", threads] = resident
        feeds["stream", threads] = Stream(reader, FRAMES, device, readers=threads)
        feeds["memory", threads] = Memory(runs, FRAMES, device, copiers=threads)

    def copy(threads: int) -> Rate:
        team = Team(threads, "copy")
        found = rate(
            lambda: team.share(lambda part: np.copyto(target[part], source[part]), COPIED),
            COPIED // window,
            device,
        )
        team.close()
        return found

    def deliver(name: str, threads: int, make: Maker | None) -> Rate:
        torch.set_num_threads(threads)

        def work() -> None:
            with feeds[name, threads].batches(iter(asked), options.batch) as batches:
                for batch in batches:
                    if make is not None:
                        make(batch.samples, batch.stored)

        return rate(work, len(everything), device)

    def step(formulation: Callable, stored: Tensor, threads: int) -> Rate:
        torch.set_num_threads(threads)
        side = torch.arange(len(stored), device=device) % HEMISPHERES
        return rate(lambda: formulation(maker.frames, stored, side), len(stored), device)

    stored = torch.from_numpy(reader.read(np.zeros((options.batch, 4), np.int64), FRAMES)).to(device)
    for threads in options.threads:
        yield f"copy, {threads} threads", lambda threads=threads: copy(threads)
        for name in ("device", "memory", "stream"):
            for what, make in (("windows", None), ("samples", maker)):
                yield (
                    f"{what} of {name}, {threads} threads",
                    lambda name=name, threads=threads, make=make: deliver(name, threads, make),
                )
        for dtype in ("int8", "float16", "float32"):
            values = stored.to(getattr(torch, dtype))
            for name, formulation in (("plain", plain), ("ours", FramePatches.forward)):
                yield (
                    f"step of {dtype}, {name}, {threads} threads",
                    lambda f=formulation, values=values, threads=threads: step(f, values, threads),
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--subjects", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=900)
    parser.add_argument("--ico", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=100, help="of one measurement")
    parser.add_argument("--threads", type=lambda text: [int(part) for part in text.split(",")], default=[1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-feeds-") as folder:
        measured = dict(sides(options, make_store(Path(folder), options.subjects, options.seconds)))
        rates: dict[str, list[Rate]] = {name: [] for name in measured}
        for measure in measured.values():
            measure()  # compiles, and fills caches
        for _ in range(options.rounds):
            for name, measure in measured.items():
                rates[name].append(measure())
    result = {"options": {key: str(value) for key, value in vars(options).items()}}
    for name, found in rates.items():
        clock, core = (statistics.median(values) for values in zip(*found, strict=True))
        entry = {"per_second": clock, "per_core_second": core}
        threads = name.rsplit(", ", 1)[1]
        note = ""
        if not name.startswith(("samples", "step")):
            bandwidth = clock * FRAMES * VERTICES
            entry |= {
                "bytes_per_second": bandwidth,
                "of_copy": clock / statistics.median(rate.clock for rate in rates[f"copy, {threads}"]),
            }
            note = f"{bandwidth / 1e9:6.2f} GB/s, {entry['of_copy']:.2f} of a copy"
        if ", ours, " in name:
            before = rates[name.replace("ours", "plain")]
            entry["over_plain"] = core / statistics.median(rate.core for rate in before)
            note = f"{entry['over_plain']:.1f} times plain, a core"
        result[name] = entry
        print(f"{name:32s} {clock:9.0f} /s {core:9.0f} /core s  {note}")
    if options.out:
        options.out.write_text(json_text.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
