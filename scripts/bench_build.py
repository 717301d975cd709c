"""What `simdata build` costs for a run, beside Connectome Workbench and beside the disk itself.

Everything is measured here, side by side and in turns, on synthetic runs of the release's size:

* run: one run, against Workbench's way (-cifti-separate, then -metric-resample of both hemispheres) and
  against a lower bound: its cortex rows are read, multiplied by a number, cast to int8, transposed, written
  and synced;
* memory: the most that a fresh process holds (VmHWM) while it converts a run;
* workers: several runs by one worker and by two, through the build's own `execute`;
* size: bytes of int8 beside float16, and what int8 costs in precision;
* scaling: time and peak memory over lengths and numbers of subjects, and what that makes for all of HCP if
  its runs come from memory; to read them from a disk may take longer.

    python scripts/bench_build.py --out bench_build.json
    python scripts/bench_build.py --parts run,size --volumes 100 --repeats 3
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from simdata.bold.cifti import open_dtseries
from simdata.bold.cifti_header import CortexBlock
from simdata.bold.run_conversion import convert_run, memory_needed
from simdata.common import json_text
from simdata.common.checksum import sha256
from simdata.common.cores import available_cores as cores
from simdata.common.workers import execute
from simdata.release import catalog as catalogs
from simdata.release.sources import Run
from simdata.store.converted import ConvertedRun
from simdata.store.encoding import ENCODINGS, Encoding
from simdata.store.shards import CHECKSUM_BYTES
from simdata.surface.meshes import DIVISIONS, icosphere_vertices
from simdata.synthetic.demo import write_dtseries
from simdata.synthetic.grayordinates import brain_models
from simdata.synthetic.latents import scenes
from simdata.synthetic.response import bold, make_subject

PARTS = ("run", "memory", "workers", "size", "scaling")
VERTICES = icosphere_vertices(6)
ROWS_AT_ONCE = 256  # in the lower bound; a block of 921 TRs is just under 1 MB
HCP_SECONDS = 921 + 918 + 915 + 901  # of a subject
STRUCTURES = {"L": "CORTEX_LEFT", "R": "CORTEX_RIGHT"}


def make_run(path: Path, density: str, volumes: int) -> Run:
    """A run as `simdata demo` makes it: HCP's grayordinates, any number of volumes."""
    movie = catalogs.load("hcp7t-movie")[0].movies[0]
    rng = np.random.default_rng(volumes)
    data = bold(make_subject(density, 0, 1), scenes(movie, 0), volumes, brain_models(density).size, rng)
    write_dtseries(path, data, density)
    return Run.of_file("100001", movie.model_copy(update={"volumes": volumes}), path, path.name)


def convert(run: Run, staging: Path, threads: int, checksum: bool, encoding: str = "int8") -> ConvertedRun:
    return convert_run(
        run,
        tr=1.0,
        capacity=run.movie.length,
        encoding=ENCODINGS[encoding],
        staging=staging,
        checksum=checksum,
        threads=threads,
    )


def lower_bound(run: Run, folder: Path, threads: int, checksum: bool) -> None:
    """Read, transform as little as may be, write as many bytes; with as many threads as ours."""
    series = open_dtseries(run.path)
    offset = series.place(series.blocks["L"])[0] - series.blocks["L"].rows.start * series.volumes * 4

    def transform(descriptor: int, out: np.ndarray, block: CortexBlock, first: int) -> None:
        rows = np.empty((min(ROWS_AT_ONCE, len(block.vertices) - first), series.volumes), np.float32)
        os.preadv(descriptor, [rows], offset + (block.rows.start + first) * series.volumes * 4)
        kept = rows[: max(0, VERTICES - first)]  # the others are read only
        kept *= np.float32(1e-3)
        out[:, first : first + len(kept)] = kept.astype(np.int8).T

    with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(1) as disk:
        digest = pool.submit(sha256, run.path) if checksum else None
        written = []
        for hemisphere, block in series.blocks.items():
            out = np.empty((series.volumes, VERTICES), np.int8)
            with run.path.open("rb") as file:
                step = partial(transform, file.fileno(), out, block)
                list(pool.map(step, range(0, len(block.vertices), ROWS_AT_ONCE)))
            written.append(disk.submit(_write_durably, folder / hemisphere, out))
        for writing in [*written, *([digest] if digest else [])]:
            writing.result()


def _write_durably(path: Path, values: np.ndarray) -> None:
    with path.open("wb") as file:
        file.write(values)
        file.flush()
        os.fsync(file.fileno())


def workbench_spheres(folder: Path, density: str) -> None:
    """The source's and the store's spheres, which a lab has on its disk: not timed."""
    from simtrain.surface.gifti import (
        write_sphere,  # here: it imports torch, whose memory no worker of a build has
    )

    vertices = str(10 * DIVISIONS[density] ** 2 + 2)
    _workbench("-surface-create-sphere", vertices, folder / "source.R.surf.gii")
    _workbench("-surface-flip-lr", folder / "source.R.surf.gii", folder / "source.L.surf.gii")
    for hemisphere, structure in STRUCTURES.items():
        source = folder / f"source.{hemisphere}.surf.gii"
        _workbench("-set-structure", source, structure, "-surface-type", "SPHERICAL")
        write_sphere(folder / f"target.{hemisphere}.surf.gii", hemisphere)


def workbench(run: Run, folder: Path) -> None:
    """The same run to metrics on ico6: neither z-scored nor encoded."""
    metrics = [
        ("-metric", structure, folder / f"{h}.func.gii", "-roi", folder / f"{h}.roi.gii")
        for h, structure in STRUCTURES.items()
    ]
    _workbench("-cifti-separate", run.path, "COLUMN", *(word for words in metrics for word in words))
    for h in STRUCTURES:
        spheres = folder / f"source.{h}.surf.gii", folder / f"target.{h}.surf.gii"
        out, roi = folder / f"{h}.ico6.func.gii", ("-current-roi", folder / f"{h}.roi.gii")
        _workbench("-metric-resample", folder / f"{h}.func.gii", *spheres, "BARYCENTRIC", out, *roi)


def _workbench(*arguments: object) -> None:
    subprocess.run(["wb_command", *map(str, arguments)], check=True, capture_output=True)


def out_of_cache(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(call: Callable[[], object]) -> dict[str, float]:
    """Wall and processor seconds (of this process' threads)."""
    began, processor = time.perf_counter(), time.process_time()
    call()
    return {"seconds": time.perf_counter() - began, "processor": time.process_time() - processor}


def median(runs: list[dict[str, float]], key: str = "seconds") -> float:
    return statistics.median(run[key] for run in runs)


def bench_run(folder: Path, options: argparse.Namespace) -> dict:
    run = make_run(folder / "run.dtseries.nii", options.density, options.volumes)
    first = timed(lambda: convert(run, folder, options.threads, checksum=False))
    sides = {
        "ours": lambda: convert(run, folder, options.threads, checksum=False),
        "bound": lambda: lower_bound(run, folder, options.threads, checksum=False),
        "ours_hashed": lambda: convert(run, folder, options.threads, checksum=True),
        "bound_hashed": lambda: lower_bound(run, folder, options.threads, checksum=True),
        "hash": lambda: sha256(run.path),
    }
    times: dict[str, list[dict]] = {}
    workbench_repeats = options.workbench_repeats if shutil.which("wb_command") else 0
    if workbench_repeats:
        workbench_spheres(folder, options.density)
    for repeat in range(options.repeats):
        for cache in ("warm", "cold"):
            # Every other time the other way round: a busy machine then strikes both alike.
            for side in list(sides)[:: 1 if repeat % 2 else -1]:
                if cache == "cold":
                    out_of_cache(run.path)
                else:
                    run.path.read_bytes()
                times.setdefault(f"{side}_{cache}", []).append(timed(sides[side]))
        if repeat < workbench_repeats:
            run.path.read_bytes()
            times.setdefault("workbench_warm", []).append(timed(lambda: workbench(run, folder)))
        print(f"run: repeat {repeat + 1} of {options.repeats}", file=sys.stderr)
    ratio = {
        f"bound_over_ours_{kind}": median(times[f"bound_{kind}"]) / median(times[f"ours_{kind}"])
        for kind in ("warm", "cold", "hashed_warm", "hashed_cold")
    }
    if "workbench_warm" in times:
        for kind in ("warm", "hashed_warm"):
            ratio[f"workbench_over_ours_{kind}"] = median(times["workbench_warm"]) / median(
                times[f"ours_{kind}"]
            )
    medians = {
        side: {"seconds": median(found), "processor": median(found, "processor")}
        for side, found in times.items()
    }
    return {"first_of_a_process": first, "medians": medians, "ratios": ratio, "runs": times}


def in_fresh_process(function: Callable, *arguments: object) -> dict:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _convert_several(runs: list[Run], staging: Path, threads: int, encoding: str) -> dict[str, float]:
    """Seconds, and peak memory in MB, of a worker that has imported what a build's workers do."""
    import distributed  # noqa: F401

    import simdata.building  # noqa: F401

    seconds = timed(
        lambda: [convert(run, staging, threads, checksum=True, encoding=encoding) for run in runs]
    )
    status = Path("/proc/self/status").read_text()
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return {**seconds, "peak_mb": int(peak) / 1024}


def bench_memory(folder: Path, options: argparse.Namespace) -> dict:
    plain = make_run(folder / "run.dtseries.nii", options.density, options.volumes)
    packed = Run.of_file(
        plain.subject, plain.movie, folder / "packed.dtseries.nii.gz", "packed.dtseries.nii.gz"
    )
    with packed.path.open("wb") as file:
        subprocess.run(["gzip", "-1", "-c", plain.path], stdout=file, check=True)
    found = {}
    for name, run, encoding in (
        ("int8", plain, "int8"),
        ("float16", plain, "float16"),
        ("float32", plain, "float32"),
        ("int8_gz", packed, "int8"),
    ):
        result = in_fresh_process(_convert_several, [run], folder, options.threads, encoding)
        stated = memory_needed(run, ENCODINGS[encoding]) / 2**20
        found[name] = {**result, "stated_mb": stated}
    return found


def convert_timed(run: Run, staging: Path, threads: int) -> dict[str, float]:
    return timed(lambda: convert(run, staging, threads, checksum=True))


def bench_workers(folder: Path, options: argparse.Namespace) -> dict:
    """Seconds a run once all workers are at it: starting a cluster and its imports takes seconds, once.

    Processor seconds a run say what two workers cost each other, on a machine where others work too.
    """
    first = make_run(folder / "0.dtseries.nii", options.density, options.workers_volumes)
    runs = [first]
    for number in range(1, options.runs):
        path = folder / f"{number}.dtseries.nii"
        shutil.copy(first.path, path)
        runs.append(Run.of_file(f"{100_001 + number}", first.movie, path, path.name))
    os.sync()  # or the disk is still at it
    sides = {"one": (1, 1), "two": (2, 1), "one_with_all_cores": (1, cores())}
    found: dict[str, list[dict]] = {name: [] for name in sides}
    for _ in range(options.workers_repeats):
        for name, (workers, threads) in sides.items():
            step = partial(convert_timed, staging=folder, threads=threads)
            began, ends, processor = time.perf_counter(), [], []
            for _, outcome in execute(step, runs, workers):
                ends.append(time.perf_counter())
                processor.append(outcome["processor"])
            begun = 2 * workers  # results until every worker has imported and compiled what it needs
            at_it = (ends[-1] - ends[begun - 1]) / (len(ends) - begun)
            whole = {"seconds_a_run": at_it, "seconds": time.perf_counter() - began}
            found[name].append({**whole, "processor_a_run": statistics.median(processor)})
        print(f"workers: { ({name: times[-1] for name, times in found.items()}) }", file=sys.stderr)
    rate = {name: median(times, "seconds_a_run") for name, times in found.items()}
    return {
        "seconds_a_run": rate,
        "processor_a_run": {name: median(times, "processor_a_run") for name, times in found.items()},
        "two_over_one": rate["one"] / rate["two"],
        "two_over_one_with_all_cores": rate["one_with_all_cores"] / rate["two"],
        "runs": found,
    }


def shard_values(shard: Path, volumes: int, encoding: Encoding) -> np.ndarray:
    """(volumes, vertices) as encoded."""
    stride = VERTICES * encoding.dtype.itemsize + CHECKSUM_BYTES
    return np.memmap(shard, np.uint8, "r", shape=(volumes, stride))[:, :-CHECKSUM_BYTES].view(encoding.dtype)


def bench_size(folder: Path, options: argparse.Namespace) -> dict:
    run = make_run(folder / "run.dtseries.nii", options.density, options.volumes)
    bytes_of, z = {}, {}
    for name, encoding in ENCODINGS.items():
        converted = convert(run, folder / name, options.threads, checksum=False, encoding=name)
        bytes_of[name] = sum(path.stat().st_size for path in converted.shards)
        z[name] = [
            shard_values(shard, run.movie.length, encoding)[:, inside] * encoding.scale
            for shard, inside in zip(converted.shards, converted.cortex, strict=True)
        ]
    errors = {}
    for name in ("int8", "float16"):
        difference = np.concatenate(
            [np.ravel(a.astype(np.float32) - b) for a, b in zip(z[name], z["float32"], strict=True)]
        )
        largest = float(np.abs(difference).max())
        errors[name] = {"largest_sd": largest, "rms_sd": float(np.sqrt(np.mean(np.square(difference))))}
    ratio = bytes_of["int8"] / bytes_of["float16"]
    return {
        "bytes": bytes_of,
        "int8_over_float16": ratio,
        "errors": errors,
        "clipped": converted.provenance["clipped"],
    }


def bench_scaling(folder: Path, options: argparse.Namespace) -> dict:
    """Fit wall and processor seconds = start + slope * (subjects * seconds of BOLD), in one worker.

    All subjects' runs are one file, which stays in memory.
    """
    points = []
    for volumes in options.lengths:
        run = make_run(folder / f"{volumes}.dtseries.nii", options.density, volumes)
        for subjects in options.subjects:
            runs = [Run.of_file(f"{100_001 + s}", run.movie, run.path, run.relative) for s in range(subjects)]
            result = in_fresh_process(_convert_several, runs, folder, options.threads, "int8")
            points.append({"volumes": volumes, "subjects": subjects, **result})
            print(f"scaling: {points[-1]}", file=sys.stderr)
    longest = [p for p in points if p["volumes"] == max(options.lengths)]
    return {
        "points": points,
        "peak_mb_by_subjects": {p["subjects"]: p["peak_mb"] for p in longest},
        **{kind: _fit(points, kind) for kind in ("seconds", "processor")},
    }


def _fit(points: list[dict], kind: str) -> dict:
    amount = np.array([p["volumes"] * p["subjects"] for p in points])
    found = np.array([p[kind] for p in points])
    slope, start = np.polyfit(amount, found, 1)
    residual = found - (start + slope * amount)
    return {
        "start": start,
        "of_a_subject_second": slope,
        "r_squared": 1 - residual.var() / found.var(),
        "hours_for_hcp_from_memory": {n: (start + slope * n * HCP_SECONDS) / 3600 for n in (174, 10_000)},
    }


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--parts", type=lambda text: text.split(","), default=list(PARTS))
    parser.add_argument("--density", choices=list(DIVISIONS), default="59k")
    parser.add_argument("--volumes", type=int, default=921, help="of the run (parts run, memory, size)")
    parser.add_argument("--threads", type=int, default=cores(), help="of one worker, ours and the bound's")
    parser.add_argument("--repeats", type=int, default=7, help="of part run; medians count")
    parser.add_argument("--workbench-repeats", type=int, default=3, help="0 leaves Workbench out")
    parser.add_argument("--runs", type=int, default=12, help="of part workers, 630 MB each")
    parser.add_argument("--workers-volumes", type=int, default=921)
    parser.add_argument("--workers-repeats", type=int, default=3)
    parser.add_argument("--lengths", type=_numbers, default=[100, 300, 921], help="of part scaling")
    parser.add_argument("--subjects", type=_numbers, default=[1, 2, 4, 8])
    parser.add_argument("--folder", type=Path, help="for temporary files: the disk to measure")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"--parts: knows {', '.join(PARTS)}, not {', '.join(unknown)}")
    benches = dict(
        zip(PARTS, (bench_run, bench_memory, bench_workers, bench_size, bench_scaling), strict=True)
    )
    result = {"cores": cores(), "machine": platform.machine(), "threads": options.threads}
    result |= {"density": options.density, "volumes": options.volumes}
    for part in options.parts:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            result[part] = benches[part](Path(folder), options)
        shown = {key: value for key, value in result[part].items() if key not in ("runs", "points")}
        print(f"{part}: {json_text.dumps(shown)}")
    if options.out:
        options.out.write_text(json_text.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
