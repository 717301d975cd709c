"""Random windows of BOLD out of a store: `simdata.store.BoldReader` against what one would use instead.

All ways read the same (3, 40962) int8 windows in turn, round by round; what counts is the median over rounds,
and of the ratios within a round. The store is made here, in simdata's layout and in compressed ones.

* warm: everything is in the page cache. np.memmap of one flat file is the yardstick; zarr-python and xarray
  read the same store; GIFTI is one gzip-base64 file a frame, as published;
* cold: the files are evicted before each measurement, and that is checked with mincore.

    python scripts/bench_reader.py --work /tmp/bench_reader --out bench_reader.json
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import mmap
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import xarray as xr
import zarr
from rich.console import Console
from rich.table import Table
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec

from simdata.common import json_text
from simdata.common.cores import available_cores
from simdata.store import BoldReader
from simdata.store.file_memory import map_file
from simdata.store.schema import quiet_zarr
from simdata.store.shards import ShardBuffer

VERTICES, FRAMES, BATCH, HEMISPHERES, GIFTI_FRAMES = 40962, 3, 64, 2, 60
DIMENSIONS = ("subject", "movie", "second", "hemisphere", "vertex")
LAYOUTS = {"simdata": (1, Crc32cCodec()), "zstd-1s": (1, ZstdCodec()), "zstd-4s": (4, ZstdCodec())}

Read = Callable[[np.ndarray], object]


def smooth_noise(rng: np.random.Generator, seconds: int) -> np.ndarray:
    """(seconds, vertices) float32 like z-scored BOLD, slow over time."""
    steps = rng.standard_normal((seconds, VERTICES), dtype=np.float32)
    for before, after in pairwise(steps):
        after *= 0.6
        after += 0.8 * before
    return steps


class Files:
    """The store in every layout, a flat file and GIFTI, with the same values; made if they are not there."""

    def __init__(self, folder: Path, subjects: int, movies: int, seconds: int) -> None:
        self.shape = (subjects, movies, seconds, HEMISPHERES, VERTICES)
        self.folder = folder / "x".join(map(str, self.shape))
        if not (self.folder / "done").exists():
            self._write()
            os.sync()
            (self.folder / "done").touch()

    def _write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        arrays = {name: self._create(name, *layout) for name, layout in LAYOUTS.items()}
        with self.flat.open("wb") as flat:
            for subject, movie, hemisphere in np.ndindex(*self.shape[:2], HEMISPHERES):
                signal = smooth_noise(rng, self.shape[2])
                run = np.clip(np.rint(signal * 16), -127, 127).astype(np.int8)
                buffer = ShardBuffer(len(run), len(run), VERTICES, run.dtype)
                buffer.values[:] = run
                buffer.write(self.store("simdata") / f"bold/c/{subject}/{movie}/0/{hemisphere}/0")
                for name in list(LAYOUTS)[1:]:
                    arrays[name][subject, movie, :, hemisphere] = run
                flat.write(run)
        self.gifti.mkdir()
        for frame, values in enumerate(signal[:GIFTI_FRAMES]):
            data = nib.gifti.GiftiDataArray(values, intent="NIFTI_INTENT_TIME_SERIES")
            nib.save(nib.gifti.GiftiImage(darrays=[data]), self.gifti / f"{frame}.func.gii")

    def _create(self, name: str, seconds: int, codec: object) -> zarr.Array:
        group = zarr.create_group(self.store(name))
        codecs = [BytesCodec(), codec]
        array = group.create_array(
            "bold",
            shape=self.shape,
            dtype="int8",
            chunks=(1, 1, self.shape[2], 1, VERTICES),
            serializer=ShardingCodec(chunk_shape=(1, 1, seconds, 1, VERTICES), codecs=codecs),
            compressors=None,
            fill_value=-128,
            dimension_names=DIMENSIONS,
            attributes={"scale_factor": 1 / 16, "_FillValue": -128},
        )
        with quiet_zarr():
            zarr.consolidate_metadata(self.store(name))
        return array

    def store(self, layout: str) -> Path:
        return self.folder / f"{layout}.zarr"

    @property
    def flat(self) -> Path:
        return self.folder / "flat"

    @property
    def gifti(self) -> Path:
        return self.folder / "gifti"

    def shards(self) -> list[Path]:
        """Of simdata's layout, in the order of subject, movie and hemisphere."""
        positions = np.ndindex(*self.shape[:2], HEMISPHERES)
        return [self.store("simdata") / f"bold/c/{s}/{m}/0/{h}/0" for s, m, h in positions]

    def run_number(self, index: np.ndarray) -> list[int]:
        subject, movie, _, hemisphere = index.T
        return ((subject * self.shape[1] + movie) * HEMISPHERES + hemisphere).tolist()

    def windows(self, rng: np.random.Generator, n: int) -> np.ndarray:
        high = (*self.shape[:2], self.shape[2] - FRAMES + 1, HEMISPHERES)
        return rng.integers(0, high, (n, 4))

    def all_files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def load(self) -> None:
        """Bring everything into the page cache."""
        for path in self.all_files():
            with path.open("rb", buffering=0) as file:
                while file.read(2**24):
                    pass

    def evict(self) -> float:
        """Drop everything from the page cache; the part of the shards and the flat file that stayed."""
        gc.collect()  # what is mapped stays
        for path in self.all_files():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
        stayed = [resident_pages(path) for path in (*self.shards(), self.flat)]
        return sum(map(np.sum, stayed)) / sum(map(len, stayed))


def resident_pages(path: Path) -> np.ndarray:
    """Which pages of a file are in memory (mincore)."""
    file = map_file(path)
    pages = np.zeros(-(-len(file) // mmap.PAGESIZE), np.uint8)
    address, size = ctypes.c_void_p(file.ctypes.data), ctypes.c_size_t(len(file))
    if ctypes.CDLL(None).mincore(address, size, pages.ctypes.data_as(ctypes.c_void_p)):
        raise OSError(f"mincore of {path} failed")
    return pages & 1


def by_memmap(files: Files, out: np.ndarray) -> Read:
    flat = np.memmap(files.flat, np.int8, "r", shape=(len(files.shards()), files.shape[2], VERTICES))

    def read(index: np.ndarray) -> None:
        for window, run, second in zip(out, files.run_number(index), index[:, 2].tolist(), strict=True):
            window[...] = flat[run, second : second + FRAMES]

    return read


def by_reader(files: Files, out: np.ndarray, layout: str = "simdata", threads: int = 1) -> Read:
    reader = BoldReader(files.store(layout), threads)
    return lambda index: reader.read(index, FRAMES, out)


def by_pread(files: Files, out: np.ndarray, threads: int) -> Read:
    """Concurrent reads of the windows' byte ranges in the shards."""
    descriptors = [os.open(path, os.O_RDONLY) for path in files.shards()]
    stride = VERTICES + 4
    gap = bytearray(4)

    def read_one(window: np.ndarray, run: int, second: int) -> None:
        parts = [part for row in window for part in (row, gap)]
        os.preadv(descriptors[run], parts, second * stride)

    pool = ThreadPoolExecutor(threads) if threads > 1 else None
    over = pool.map if pool else map

    def read(index: np.ndarray) -> None:
        list(over(read_one, out, files.run_number(index), index[:, 2].tolist()))

    return read


def by_zarr(files: Files, out: np.ndarray) -> Read:
    array = zarr.open_array(files.store("simdata") / "bold", mode="r")

    def read(index: np.ndarray) -> None:
        for window, (subject, movie, second, hemisphere) in zip(out, index.tolist(), strict=False):
            window[...] = array[subject, movie, second : second + FRAMES, hemisphere]

    return read


def by_xarray(files: Files, out: np.ndarray) -> Read:
    bold = xr.open_zarr(files.store("simdata"), chunks=None, mask_and_scale=False).bold

    def read(index: np.ndarray) -> None:
        for window, (subject, movie, second, hemisphere) in zip(out, index.tolist(), strict=False):
            seconds = slice(second, second + FRAMES)
            window[...] = bold.isel(
                subject=subject, movie=movie, second=seconds, hemisphere=hemisphere
            ).values

    return read


def by_gifti(files: Files, out: np.ndarray) -> Read:
    def read(index: np.ndarray) -> None:
        for window, second in zip(out, index[:, 2].tolist(), strict=False):
            for row, frame in zip(window, range(second % (GIFTI_FRAMES - 2), GIFTI_FRAMES), strict=False):
                row[...] = nib.load(files.gifti / f"{frame}.func.gii").darrays[0].data

    return read


def warm(files: Files, rounds: int, seconds: float, threads: list[int]) -> dict[str, list[float]]:
    """Windows/s of each way and round."""
    out = np.empty((BATCH, FRAMES, VERTICES), np.int8)
    cores = available_cores()
    ways: dict[str, tuple[Read, int]] = {"memmap": (by_memmap(files, out), BATCH)}
    ways |= {f"ours-{n}": (by_reader(files, out, threads=n), BATCH) for n in threads}
    ways |= {
        "pread-1": (by_pread(files, out, 1), BATCH),
        f"zstd-1s-{cores}": (by_reader(files, out, "zstd-1s", cores), BATCH),
        f"zstd-4s-{cores}": (by_reader(files, out, "zstd-4s", cores), BATCH),
        "zstd-1s-1": (by_reader(files, out, "zstd-1s", 1), BATCH),
        "zarr-python": (by_zarr(files, out), 8),
        "xarray-isel": (by_xarray(files, out), 8),
        "gifti": (by_gifti(files, out), 4),
    }
    files.load()
    rng = np.random.default_rng(1)
    for read, batch in ways.values():
        read(files.windows(rng, batch))
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, (read, batch) in ways.items():
            batches = [files.windows(rng, batch) for _ in range(256)]
            began, done = time.perf_counter(), 0
            while time.perf_counter() - began < seconds:
                read(batches[done % 256])
                done += 1
            rates[name].append(done * batch / (time.perf_counter() - began))
        print(f"warm {number}: " + ", ".join(f"{n} {r[-1]:,.0f}" for n, r in rates.items()), file=sys.stderr)
    return rates


def cold(files: Files, rounds: int, batches: int) -> tuple[dict[str, list[float]], float]:
    """Windows/s of each way and round, and the largest part of the files that eviction left in memory.

    Ways are made before eviction and thrown away after: pages that are mapped cannot be evicted. The headers
    and indexes of shards are read before.
    """
    out = np.empty((BATCH, FRAMES, VERTICES), np.int8)
    ways: dict[str, Callable[[], Read]] = {
        "memmap": lambda: by_memmap(files, out),
        "pread-1": lambda: by_pread(files, out, 1),
        "pread-16": lambda: by_pread(files, out, 16),
        "pread-64": lambda: by_pread(files, out, 64),
        "ours-1": lambda: by_reader(files, out, threads=1),
        "ours-2": lambda: by_reader(files, out, threads=2),
        "zstd-1s": lambda: by_reader(files, out, "zstd-1s", available_cores()),
    }
    every_run = np.array([(s, m, 0, h) for s, m, h in np.ndindex(*files.shape[:2], HEMISPHERES)])
    rates: dict[str, list[float]] = {name: [] for name in ways}
    stayed = 0.0
    rng = np.random.default_rng(2)
    for number in range(rounds):
        for name, make in ways.items():
            read = make()
            for start in range(0, len(every_run), BATCH):
                index = np.resize(every_run[start : start + BATCH], (BATCH, 4))
                read(index)
            stayed = max(stayed, files.evict())
            drawn = [files.windows(rng, BATCH) for _ in range(batches)]
            began = time.perf_counter()
            for index in drawn:
                read(index)
            rates[name].append(batches * BATCH / (time.perf_counter() - began))
            del read  # its maps
        print(f"cold {number}: " + ", ".join(f"{n} {r[-1]:,.0f}" for n, r in rates.items()), file=sys.stderr)
    return rates, stayed


def check(files: Files) -> None:
    """Every way gives the same values."""
    index = files.windows(np.random.default_rng(3), BATCH)
    found = {}
    for name, make in {
        "memmap": by_memmap,
        "ours": by_reader,
        "zstd-1s": lambda files, out: by_reader(files, out, "zstd-1s"),
        "zstd-4s": lambda files, out: by_reader(files, out, "zstd-4s"),
        "pread": lambda files, out: by_pread(files, out, 16),
        "zarr": by_zarr,
        "xarray": by_xarray,
    }.items():
        found[name] = np.empty((BATCH, FRAMES, VERTICES), np.int8)
        make(files, found[name])(index)
        np.testing.assert_array_equal(found[name], found["memmap"], err_msg=name)


def summary(rates: dict[str, list[float]], over: str) -> dict[str, dict[str, float]]:
    """Median windows/s, and the median ratio to ``over`` within a round."""
    reference = rates[over]
    return {
        name: {
            "windows_per_s": statistics.median(found),
            f"over_{over}": statistics.median(a / b for a, b in zip(found, reference, strict=True)),
            "rounds": found,
        }
        for name, found in rates.items()
    }


def show(title: str, found: dict[str, dict[str, float]]) -> None:
    names = [key for key in next(iter(found.values())) if key != "rounds"]
    table = Table("way", *names, title=title)
    for way, values in found.items():
        table.add_row(
            way, *(f"{values[name]:,.0f}" if values[name] > 50 else f"{values[name]:.3f}" for name in names)
        )
    Console(width=100).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the files, some 5 GB by default")
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--movies", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=900, help="of a run")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--time", type=float, default=0.5, help="s of each warm measurement")
    parser.add_argument("--cold-batches", type=int, default=8, help=f"of {BATCH} windows")
    parser.add_argument(
        "--threads", default=None, help="such as 1,2,4; powers of two up to all cores by default"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    cores = available_cores()
    threads = (
        [int(n) for n in options.threads.split(",")]
        if options.threads
        else [2**n for n in range(cores.bit_length()) if 2**n <= cores]
    )
    files = Files(options.work, options.subjects, options.movies, options.seconds)
    check(files)
    warm_rates = summary(warm(files, options.rounds, options.time, threads), "memmap")
    cold_rates, stayed = cold(files, options.rounds, options.cold_batches)
    best = max(("pread-16", "pread-64"), key=lambda name: statistics.median(cold_rates[name]))
    result = {
        "shape": files.shape,
        "cores": cores,
        "warm": warm_rates,
        "cold": summary(cold_rates, best),
        "cold_left_in_memory": stayed,
        "ours_over": {
            name: warm_rates["ours-1"]["windows_per_s"] / warm_rates[name]["windows_per_s"]
            for name in ("memmap", "zarr-python", "xarray-isel", "gifti")
        },
    }
    show("warm", result["warm"])
    show(f"cold ({stayed:.1%} at most left in memory)", result["cold"])
    print("one thread, warm, is " + ", ".join(f"{r:,.1f} x {n}" for n, r in result["ours_over"].items()))
    if options.out:
        options.out.write_text(json_text.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
