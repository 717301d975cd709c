"""Windows of BOLD and whole training samples per second: simtrain against the loaders that a user would pick.

All sides read the same values, made at the start, on one core in one process, in turn and repeated; medians
count. A *window* is (3, 40962) values as stored. A *sample* is what the model takes: a window of a
random place, its frames z-scored over the cortex and cut into 1,280 patches of 45 vertices x 3 frames in
float32, with the embeddings of its clip. The rivals do that in the usual way: numpy in ``__getitem__``, and
torch's DataLoader. WebDataset and LitData hold windows cut beforehand; the others read the windows at random.

    pip install webdataset h5py xbatcher zarrs tensorstore litdata      # those that are missing are left out
    python scripts/bench_stream.py --subjects 2 --out bench_stream.json
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # per core; before numpy and torch are imported

import argparse
import io
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import xarray as xr
import zarr
from synthetic_store import write_store
from torch.utils.data import DataLoader, Dataset, IterableDataset

from simdata.common import json_text
from simdata.store import BoldReader
from simtrain.data import windows
from simtrain.data.dataset import open_dataset
from simtrain.data.features import Stimuli
from simtrain.data.feeds import Stream
from simtrain.models.input import FramePatches
from simtrain.surface.patches import patch_vertices

FRAMES, BATCH, ICO, LAG = 3, 64, 3, 6
FIELDS = ("movie", "clip", "hemisphere")
MODALITIES = {"video": "motion_energy", "audio": "logmel"}


class Data:
    """The store, what a sample needs beside BOLD, and the windows that are asked for, in their order."""

    def __init__(self, store: Path, count: int, seed: int = 0) -> None:
        self.store, self.dataset = store, open_dataset(store)
        embeddings = {
            name: self.dataset.embedding(f"{name}_{encoder}") for name, encoder in MODALITIES.items()
        }
        clips = windows.clip_split(self.dataset, embeddings.values())
        found = windows.by_hemisphere(windows.find_windows(self.dataset, clips, FRAMES, LAG))
        self.samples = np.random.default_rng(seed).choice(found, count, replace=len(found) < count)
        self.embeddings = embeddings
        self.cortex, self.patches = self.dataset.cortex, patch_vertices(ICO)
        self.scale = np.float32(BoldReader(store).scale_factor)

    def place(self, number: int) -> tuple[int, int, int, int]:
        sample = self.samples[number]
        return tuple(int(sample[name]) for name in ("subject", "movie", "second", "hemisphere"))

    def index(self) -> np.ndarray:
        return np.array([self.place(number) for number in range(len(self.samples))])

    def usual(self, window: np.ndarray, number: int) -> tuple[torch.Tensor, ...]:
        """The work on one window, as one writes it in a Dataset."""
        sample = self.samples[number]
        cortex = self.cortex[sample["hemisphere"]]
        frames = window.astype(np.float32) * self.scale
        inside = frames[:, cortex]
        frames = (frames - inside.mean(axis=1, keepdims=True)) / inside.std(axis=1, keepdims=True)
        frames[:, ~cortex] = 0
        patches = np.ascontiguousarray(frames.T)[self.patches].reshape(len(self.patches), -1)
        row = sample["movie"], sample["clip"]
        return tuple(
            map(torch.from_numpy, [patches, *(found.values[row] for found in self.embeddings.values())])
        )


class Mapped(Dataset):
    """Any ``read(number) -> (frames, vertices)`` as torch's users wrap it."""

    def __init__(self, data: Data, read: Callable[[int], np.ndarray]) -> None:
        self.data, self.read = data, read

    def __len__(self) -> int:
        return len(self.data.samples)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, ...]:
        return self.data.usual(self.read(number), number)


# A side is prepared once, and gives two passes over all windows: fetching them, and making samples of them.
Pass = Callable[[], Iterator]
Side = Callable[[Data, Path], tuple[Pass, Pass]]


def by_number(data: Data, read: Callable[[int], np.ndarray]) -> tuple[Pass, Pass]:
    """Both passes of a loader that reads a window at a time."""
    return (
        lambda: map(read, range(len(data.samples))),
        lambda: iter(DataLoader(Mapped(data, read), batch_size=BATCH)),
    )


def simtrain_side(data: Data, folder: Path) -> tuple[Pass, Pass]:
    reader, frames, stimuli = (
        BoldReader(data.store),
        FramePatches(data.cortex, data.patches),
        Stimuli(data.embeddings),
    )
    feed = Stream(reader, FRAMES, torch.device("cpu"))
    index, cuts = data.index(), range(0, len(data.samples), BATCH)
    out = np.empty((BATCH, FRAMES, reader.shape[-1]), reader.dtype)

    def fetch() -> Iterator[np.ndarray]:
        for start in cuts:
            places = index[start : start + BATCH]
            yield from reader.read(places, FRAMES, out[: len(places)])

    def samples() -> Iterator[tuple[torch.Tensor, ...]]:
        batches = ((data.samples[start : start + BATCH], None) for start in cuts)
        with feed.batches(batches, BATCH) as stream:
            for batch in stream:
                at = {name: torch.from_numpy(batch.samples[name].astype(np.int64)) for name in FIELDS}
                clips = stimuli(at["movie"], at["clip"])
                yield frames(batch.stored, at["hemisphere"]), *clips.values()

    return fetch, samples


def flat_memmap(data: Data, folder: Path) -> tuple[Pass, Pass]:
    array = np.load(_flat(data, folder), mmap_mode="r")

    def read(number: int) -> np.ndarray:
        subject, movie, second, hemisphere = data.place(number)
        return np.array(array[subject, movie, hemisphere, second : second + FRAMES])

    return by_number(data, read)


def hdf5(data: Data, folder: Path) -> tuple[Pass, Pass]:
    import h5py

    flat = np.load(_flat(data, folder), mmap_mode="r")
    file = h5py.File(folder / "bold.h5", "w")
    array = file.create_dataset("bold", flat.shape, flat.dtype)  # contiguous: quicker than in chunks
    for place in np.ndindex(flat.shape[:3]):
        array[place] = flat[place]

    def read(number: int) -> np.ndarray:
        subject, movie, second, hemisphere = data.place(number)
        return array[subject, movie, hemisphere, second : second + FRAMES]

    return by_number(data, read)


def zarr_python(data: Data, folder: Path) -> tuple[Pass, Pass]:
    return by_number(data, _zarr_read(data))


def zarrs(data: Data, folder: Path) -> tuple[Pass, Pass]:
    import zarrs  # noqa: F401

    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "threading.max_workers": 1})
    try:
        return by_number(data, _zarr_read(data))
    finally:
        zarr.config.reset()


def tensorstore(data: Data, folder: Path) -> tuple[Pass, Pass]:
    import tensorstore

    one = {"limit": 1}
    array = tensorstore.open(
        {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(data.store / "bold")},
            "context": {"data_copy_concurrency": one, "file_io_concurrency": one},
        }
    ).result()

    def read(number: int) -> np.ndarray:
        subject, movie, second, hemisphere = data.place(number)
        return array[subject, movie, second : second + FRAMES, hemisphere].read().result()

    return by_number(data, read)


def xbatcher(data: Data, folder: Path) -> tuple[Pass, Pass]:
    import xbatcher

    with xr.open_zarr(data.store, chunks=None, mask_and_scale=False) as store:
        bold = store.bold.drop_vars(list(store.bold.coords))
    # One generator a subject: of them all together the table of batches alone takes minutes.
    sizes = {"movie": 1, "second": FRAMES, "hemisphere": 1, "vertex": bold.sizes["vertex"]}
    generators = [
        xbatcher.BatchGenerator(
            bold.isel(subject=subject), sizes, {"second": FRAMES - 1}, preload_batch=False
        )
        for subject in range(bold.sizes["subject"])
    ]
    starts = bold.sizes["second"] - FRAMES + 1
    table = {}  # xbatcher's own order of batches: found, not assumed
    for number in range(len(generators[0])):
        selection = generators[0]._batch_selectors.selectors[number]
        selection = selection[0] if isinstance(selection, list) else selection
        table[tuple(selection[axis].start for axis in ("movie", "second", "hemisphere"))] = number
    assert len(table) == bold.sizes["movie"] * bold.sizes["hemisphere"] * starts

    def read(number: int) -> np.ndarray:
        subject, *place = data.place(number)
        return generators[subject][table[tuple(place)]].values.reshape(FRAMES, -1)

    return by_number(data, read)


def webdataset(data: Data, folder: Path) -> tuple[Pass, Pass]:
    import webdataset

    read, target = _zarr_read(data), folder / "windows.tar"
    with webdataset.TarWriter(str(target)) as writer:
        for number in range(len(data.samples)):
            writer.write({"__key__": f"{number:09d}", "npy": _npy(read(number))})

    def windows_in_order() -> Iterator[tuple[int, np.ndarray]]:
        files = webdataset.WebDataset(str(target), shardshuffle=False, empty_check=False)
        for item in files.decode():
            yield int(item["__key__"]), item["npy"]

    class Samples(IterableDataset):
        def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
            return (data.usual(window, number) for number, window in windows_in_order())

    return windows_in_order, lambda: iter(DataLoader(Samples(), batch_size=BATCH))


def litdata(data: Data, folder: Path) -> tuple[Pass, Pass]:
    import litdata
    from litdata.streaming import Cache

    read, target = _zarr_read(data), folder / "litdata"
    cache = Cache(str(target), chunk_bytes="64MB")
    for number in range(len(data.samples)):
        cache[number] = {"number": number, "window": read(number)}
    cache.done()
    cache.merge()

    def windows_in_order() -> Iterator[tuple[int, np.ndarray]]:
        for item in litdata.StreamingDataset(str(target)):
            yield item["number"], item["window"]

    class Samples(litdata.StreamingDataset):
        def __getitem__(self, number: object) -> tuple[torch.Tensor, ...]:
            item = super().__getitem__(number)
            return data.usual(item["window"], item["number"])

    return windows_in_order, lambda: iter(
        litdata.StreamingDataLoader(Samples(str(target)), batch_size=BATCH, num_workers=0)
    )


SIDES: dict[str, Side] = {
    "simtrain": simtrain_side,
    "np.memmap": flat_memmap,
    "h5py": hdf5,
    "tensorstore": tensorstore,
    "webdataset": webdataset,
    "litdata": litdata,
    "zarrs": zarrs,
    "zarr": zarr_python,
    "xbatcher": xbatcher,
}

MODULES = {"h5py": "h5py", "tensorstore": "tensorstore", "webdataset": "webdataset", "litdata": "litdata"}
MODULES |= {"zarrs": "zarrs", "xbatcher": "xbatcher"}


def _zarr_read(data: Data) -> Callable[[int], np.ndarray]:
    array = zarr.open_array(data.store / "bold", mode="r")

    def read(number: int) -> np.ndarray:
        subject, movie, second, hemisphere = data.place(number)
        return array[subject, movie, second : second + FRAMES, hemisphere]

    return read


def _flat(data: Data, folder: Path) -> Path:
    """BOLD as one .npy file, (subject, movie, hemisphere, second, vertex)."""
    path, reader = folder / "bold.npy", BoldReader(data.store)
    if not path.exists():
        subjects, movies, seconds, hemispheres, vertices = reader.shape
        shape = (subjects, movies, hemispheres, seconds, vertices)
        flat = np.lib.format.open_memmap(path, "w+", reader.dtype, shape)
        for subject, movie, hemisphere in np.ndindex(shape[:3]):
            flat[subject, movie, hemisphere] = reader.read_run(subject, movie, hemisphere)
    return path


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def check(data: Data, name: str, fetch: Pass, samples: Pass) -> None:
    """All sides must give the same windows, and the same samples but for rounding."""
    truth = _zarr_read(data)
    for order, item in zip(range(BATCH), fetch(), strict=False):
        number, window = item if isinstance(item, tuple) else (order, item)
        np.testing.assert_array_equal(window, truth(number), name)
    patches, *clips = next(iter(samples()))
    for number in range(len(patches)):
        expected, *rest = data.usual(truth(number), number)
        np.testing.assert_allclose(patches[number], expected, 1e-4, 1e-4, err_msg=name)
        for clip, other in zip(clips, rest, strict=True):
            np.testing.assert_allclose(clip[number], other, atol=1e-4, err_msg=name)


def rate(one_pass: Pass, seconds: float) -> float:
    """Windows or samples per second, over ``seconds`` of pass after pass."""
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for item in one_pass():
            done += len(item[0]) if isinstance(item, list | tuple) and torch.is_tensor(item[0]) else 1
            if time.perf_counter() - began > seconds:
                break
    return done / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--subjects", type=int, default=2, help="300 MB each")
    parser.add_argument("--windows", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one measurement")
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--store", type=Path, help="a store to use instead of a synthetic one")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):  # all threads of a side on one core
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    folder = Path(tempfile.mkdtemp(prefix="bench-stream-"))
    try:
        report(measure(options, folder), options.out)
    finally:
        shutil.rmtree(folder)


def measure(options: argparse.Namespace, folder: Path) -> dict:
    store = options.store
    if store is None:
        store = folder / "noise.zarr"
        write_store(store, options.subjects)
    data, sides = Data(store, options.windows), {}
    for name in options.sides.split(","):
        if find_spec(MODULES.get(name, "zarr")) is None:
            print(f"{name}: not installed, left out", file=sys.stderr)
            continue
        sides[name] = SIDES[name](data, folder)
        check(data, name, *sides[name])
    rates = {name: ([], []) for name in sides}
    for turn in range(options.rounds):
        for name, passes in sides.items():
            for found, one_pass in zip(rates[name], passes, strict=True):
                found.append(rate(one_pass, options.seconds))
            print(
                f"{turn + 1} of {options.rounds}: {name} {rates[name][0][-1]:.0f} {rates[name][1][-1]:.0f}",
                file=sys.stderr,
            )
    ours = rates["simtrain"]
    return {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread used",
        "windows": options.windows,
        "rounds": options.rounds,
        "sides": {
            name: {
                what: {
                    "per_second": statistics.median(found[position]),
                    "all": found[position],
                    # Of rounds, since the machine's speed changes over time.
                    "simtrain_over": statistics.median(
                        mine / other for mine, other in zip(ours[position], found[position], strict=True)
                    ),
                }
                for position, what in enumerate(("windows", "samples"))
            }
            for name, found in rates.items()
        },
    }


def report(result: dict, out: Path | None) -> None:
    print(f"{'':14s} {'windows/s':>10s} {'ours, x':>8s} {'samples/s':>10s} {'ours, x':>8s}")
    for name, found in result["sides"].items():
        fetched, made = found["windows"], found["samples"]
        print(
            f"{name:14s} {fetched['per_second']:10,.0f} {fetched['simtrain_over']:8.1f}"
            f" {made['per_second']:10,.0f} {made['simtrain_over']:8.1f}"
        )
    if out:
        out.write_text(json_text.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
