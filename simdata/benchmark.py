"""`simdata bench`: what this machine gets from a store, and what other layouts would give.

All figures are windows (3 s of one hemisphere) a second, at random places of runs that are in the store, a
batch at a time, as training asks for them. All ways take turns in a few rounds, of which the best counts:
other work on the machine only slows them.
"""

from __future__ import annotations

import gc
import itertools
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr
from rich.console import Console
from rich.table import Column, Table

from simdata.common.cores import available_cores
from simdata.common.errors import UserError
from simdata.common.free_memory import host_room
from simdata.common.progress import Progress
from simdata.rechunking import BoldWriter
from simdata.store.axes import check_variables
from simdata.store.direct import BoldReader
from simdata.store.file_memory import copy_rows
from simdata.store.layout import read_layout
from simdata.store.named_layouts import parse_layout
from simdata.store.opening import open_store
from simdata.store.schema import COMPLETE

FRAMES, BATCH = 3, 64
ROUNDS = 3
UNBOUNDED = 2**62
CLEARLY = 1.5  # less may be chance on a busy machine
SAMPLE_BYTES = 2**29  # of BOLD that windows are drawn from
LAYOUT_RUNS = 2  # of them are written in other layouts
LAYOUTS = ("seconds", "blocks,seconds=10", "compressed", "runs")


@dataclass(frozen=True)
class Findings:
    """What was measured.

    Attributes
    ----------
    feeds : way -> windows/s
    layouts : layout -> windows/s warm and cold (one thread), and its size, the store's own layout being 1
    bold_bytes : of all complete runs as stored, uncompressed
    free_bytes : of memory
    """

    feeds: dict[str, float]
    layouts: dict[str, dict[str, float]]
    bold_bytes: int
    free_bytes: int
    cores: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def advice(self) -> list[str]:
        """What a user had better do, in sentences."""
        said = []
        own, best = self.layouts["as it is"], max(self.layouts, key=lambda name: self.layouts[name]["warm"])
        if self.layouts[best]["warm"] > CLEARLY * own["warm"]:
            quicker = self.layouts[best]["warm"] / own["warm"]
            said.append(
                f"simdata rechunk STORE OUT --layout {best} would be {quicker:.1f} times as quick when warm, "
                f"in {self.layouts[best]['size']:.2f} of the space"
            )
        else:
            said.append("no layout that was tried is clearly quicker than the store's own")
        fits = "fits" if self.bold_bytes < 0.9 * self.free_bytes else "does not fit"
        room, size = self.free_bytes / 1e9, self.bold_bytes / 1e9
        said.append(f"BOLD ({size:.1f} GB) {fits} in this machine's free memory ({room:.1f} GB)")
        return said


def print_findings(found: Findings, console: Console) -> None:
    """Two tables, and what follows from them."""
    feeds = Table("way", Column("windows/s", justify="right"), title="This store, as it is")
    for name, rate in found.feeds.items():
        feeds.add_row(name, f"{rate:,.0f}")
    layouts = Table("layout", title="Layouts, by a few runs and one thread")
    for column in ("warm, windows/s", "cold, windows/s", "size"):
        layouts.add_column(column, justify="right")
    for name, own in found.layouts.items():
        layouts.add_row(name, f"{own['warm']:,.0f}", f"{own['cold']:,.0f}", f"{own['size']:.2f}")
    console.print(feeds, layouts)
    for sentence in found.advice():
        console.print(f"* {sentence}", soft_wrap=True, highlight=False)


def bench(store: Path, *, seconds: float, scratch: Path | None, progress: Progress) -> Findings:
    """Measure a store.

    Parameters
    ----------
    seconds : for which each way is measured in a round
    scratch : folder for copies of a few runs in other layouts; the system's by default. Better on the disk of
        the store.

    Raises
    ------
    UserError
        If there is no store, it has no runs, or a layout that simdata does not know.
    """
    dataset = open_store(store)
    check_variables(dataset, store, ("bold", "run_status"))
    complete = np.argwhere(dataset.run_status.values == COMPLETE)
    if not len(complete):
        raise UserError(f"{store}: has no complete runs to measure; build it first")
    if read_layout(zarr.open_array(store, path="bold", mode="r")) is None:
        raise UserError(
            f"{store}: only zarr can read its layout, slowly: simdata rechunk STORE OUT --layout seconds"
        )
    reader = BoldReader(store)
    run_bytes = int(np.prod(reader.shape[2:])) * reader.dtype.itemsize
    chosen = complete[: max(LAYOUT_RUNS, SAMPLE_BYTES // run_bytes)]
    progress.start("layouts", len(LAYOUTS), 0)
    with tempfile.TemporaryDirectory(prefix="simdata-bench-", dir=scratch) as folder:
        copies = {"as it is": store} | {
            layout: _copy(store, Path(folder) / str(number), layout, chosen[:LAYOUT_RUNS], progress)
            for number, layout in enumerate(LAYOUTS)
        }
        ways = _feeds(store, chosen) | {
            (name, kind): _from_disk(copy, chosen[:LAYOUT_RUNS], cold=kind == "cold")
            for name, copy in copies.items()
            for kind in ("warm", "cold")
        }
        rates = _rates(ways, seconds, progress)
        sizes = {name: _size(copy, chosen[:LAYOUT_RUNS]) for name, copy in copies.items()}
    layouts = {
        name: {kind: rates[name, kind] for kind in ("warm", "cold")}
        | {"size": sizes[name] / sizes["as it is"]}
        for name in copies
    }
    feeds = {name: rate for name, rate in rates.items() if isinstance(name, str)}
    return Findings(feeds, layouts, len(complete) * run_bytes, host_room(), available_cores())


class Way(NamedTuple):
    """``prepare`` makes ready and gives what reads one batch; ``most`` bounds the batches of a round."""

    prepare: Callable[[np.random.Generator], Callable[[], object]]
    most: int = UNBOUNDED


def _feeds(store: Path, runs: np.ndarray) -> dict[str, Way]:
    """The ways of the whole sample: streamed by one thread and by all, and from memory."""
    cores = available_cores()
    return {
        "stream, 1 thread": _from_disk(store, runs),
        f"stream, {cores} threads": _from_disk(store, runs, threads=cores),
        "stream, cold": _from_disk(store, runs, cold=True),
        "memory, 1 thread": _from_memory(store, runs),
    }


def _from_disk(store: Path, runs: np.ndarray, *, threads: int = 1, cold: bool = False) -> Way:
    """Each round has a reader of its own, since what a reader has mapped cannot be dropped from memory."""
    shape = BoldReader(store).shape
    windows = len(runs) * shape[2] * shape[3] // FRAMES

    def prepare(rng: np.random.Generator) -> Callable[[], object]:
        gc.collect()  # the readers of other ways
        for path in _objects(store, runs):
            _drop_from_memory(path) if cold else path.read_bytes()
        reader = BoldReader(store, threads=threads)
        out = np.empty((BATCH, FRAMES, shape[4]), reader.dtype)
        return lambda: reader.read(_windows(rng, runs, shape), FRAMES, out)

    # Not so many that most of what is asked for has been read before.
    return Way(prepare, max(1, windows // 4 // BATCH)) if cold else Way(prepare)


def _from_memory(store: Path, runs: np.ndarray) -> Way:
    """Windows copied out of whole runs in memory, as `simtrain fit --feed memory` does in its own way."""
    reader = BoldReader(store)
    held = np.stack(
        [
            reader.read_run(subject, movie, side)
            for subject, movie in runs.tolist()
            for side in range(reader.shape[3])
        ]
    )
    size = FRAMES * reader.shape[4] * reader.dtype.itemsize
    out = np.empty((BATCH, FRAMES, reader.shape[4]), reader.dtype)

    def prepare(rng: np.random.Generator) -> Callable[[], object]:
        def batch() -> None:
            run, second = (
                rng.integers(len(held), size=BATCH),
                rng.integers(held.shape[1] - FRAMES, size=BATCH),
            )
            starts = held.ctypes.data + run * held.strides[0] + second * held.strides[1]
            copy_rows(starts, size, out.ctypes.data, 0)

        return batch

    return Way(prepare)


def _windows(rng: np.random.Generator, runs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(batch, 4) positions, as `BoldReader.read` takes them."""
    run = runs[rng.integers(len(runs), size=BATCH)]
    second = rng.integers(shape[2] - FRAMES, size=BATCH)
    side = rng.integers(shape[3], size=BATCH)
    return np.stack([run[:, 0], run[:, 1], second, side], axis=1)


def _rates(ways: dict[Any, Way], seconds: float, progress: Progress) -> dict[Any, float]:
    found: dict[Any, list[float]] = {name: [] for name in ways}
    progress.start("rounds", ROUNDS, 0)
    for number in range(ROUNDS):
        for name, way in ways.items():
            batch = way.prepare(np.random.default_rng(number))
            if way.most == UNBOUNDED:
                batch()  # what is compiled or mapped at the first call
            found[name].append(_rate(batch, seconds, way.most))
            del batch
        progress.advance("rounds")
    return {name: max(rates) for name, rates in found.items()}


def _rate(batch: Callable[[], object], seconds: float, most: int) -> float:
    """Windows a second."""
    done, began = 0, time.perf_counter()
    while not done or (done < most and time.perf_counter() - began < seconds):
        batch()
        done += 1
    return done * BATCH / (time.perf_counter() - began)


def _copy(store: Path, folder: Path, layout: str, runs: np.ndarray, progress: Progress) -> Path:
    """BOLD of some runs in another layout."""
    reader, writer = BoldReader(store), BoldWriter(store, folder / "bold", parse_layout(layout))
    for subject, movie in runs.tolist():
        for side in range(reader.shape[3]):
            writer.write_run(reader, subject, movie, side)
    progress.advance("layouts")
    return folder


def _objects(store: Path, runs: np.ndarray) -> list[Path]:
    """The files that hold some runs."""
    folder = store / "bold"
    layout = read_layout(zarr.open_array(folder, mode="r"))
    assert layout is not None  # `bench` has refused others
    places = itertools.product(runs.tolist(), range(layout.objects_per_run), range(layout.shape[3]))
    paths = {folder / layout.key(subject, movie, block, side) for (subject, movie), block, side in places}
    return sorted(path for path in paths if path.exists())


def _drop_from_memory(path: Path) -> None:
    """Have the system forget a file that nobody has mapped, so that it is read from disk again."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _size(store: Path, runs: np.ndarray) -> int:
    return sum(path.stat().st_size for path in _objects(store, runs))
