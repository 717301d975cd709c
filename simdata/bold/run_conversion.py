"""One run from its file to shards: read, resample, normalise, encode and write, all beside one another."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from simdata.bold import run_values
from simdata.bold.conversion_kernel import convert_vertices
from simdata.bold.formats import open_run
from simdata.bold.opened_run import ReadsBold
from simdata.common.checksum import sha256
from simdata.common.errors import UserError
from simdata.common.faults import of_store
from simdata.common.read_ahead import read_ahead
from simdata.release.source_records import fingerprints, source_record
from simdata.release.sources import Run
from simdata.store.converted import ConvertedRun
from simdata.store.encoding import Encoding
from simdata.store.lock import new_folder
from simdata.store.shards import CHECKSUM_BYTES, ShardBuffer
from simdata.surface.meshes import HEMISPHERES, icosphere_vertices
from simdata.surface.resampling import ORDER, Corners, cortex_weights
from simdata.surface.sphere_files import SphereFiles

MEGABYTE = 2**20
BASE_MEMORY = 350 * MEGABYTE  # imports, the compiler, weights and the header's XML
CORTEX_ROWS = 108_441  # in both hemispheres of the finest mesh
VERTICES_AT_ONCE = 1024  # that a thread converts before it takes others

Mesh = tuple[str, str, SphereFiles | None]  # density, hemisphere, and files in place of formulas


@dataclass(frozen=True)
class _Hemisphere:
    mean: np.ndarray
    std: np.ndarray
    cortex: np.ndarray
    clipped: int
    constant: int = 0
    broken: int = 0


def convert_run(
    run: Run,
    *,
    tr: float | None,
    capacity: int,
    encoding: Encoding,
    staging: Path,
    checksum: bool,
    threads: int = 1,
    spheres: SphereFiles | None = None,
) -> ConvertedRun:
    """Convert one run into two shards below ``staging``.

    Parameters
    ----------
    capacity : seconds that a shard has room for
    checksum : whether to hash the source
    threads : that convert and hash; while they do, another reads the next hemisphere, and one writes the last
    spheres : in place of those by formula, and of the registration that comes with simdata

    Raises
    ------
    UserError
        If the source's header, length or values are not those of the catalog's run; see
        `simdata.bold.run_values` for its values.
    """
    taken = fingerprints(run)
    series = open_run(run.path)
    check_run(series, tr=tr, volumes=run.movie.volumes)
    folder = new_folder(staging)
    shards = {hemisphere: folder / f"{hemisphere}.shard" for hemisphere in HEMISPHERES}
    parts, written = {}, []
    with ThreadPoolExecutor(threads) as processor, ThreadPoolExecutor(1) as disk:
        hashed = run.inputs if checksum else {}
        digests = {name: processor.submit(sha256, path) for name, path in hashed.items()}
        with closing(read_ahead(_paged_in(series))) as hemispheres:
            for hemisphere, source in hemispheres:
                buffer = ShardBuffer(series.volumes, capacity, icosphere_vertices(ORDER), encoding.dtype)
                parts[hemisphere] = _convert_hemisphere(
                    series, hemisphere, source, spheres, encoding, buffer.values, processor
                )
                written.append(disk.submit(buffer.write, shards[hemisphere]))
        with of_store(staging):
            for writing in written:
                writing.result()
        left_right = [parts[hemisphere] for hemisphere in HEMISPHERES]
        mean, std, cortex = (np.stack([getattr(p, k) for p in left_right]) for k in ("mean", "std", "cortex"))
        provenance = {
            **source_record(run, taken, {name: digest.result() for name, digest in digests.items()}),
            "density": series.density,
            "clipped": sum(part.clipped for part in left_right) / float(np.sum(cortex) * series.volumes),
            "coverage": dict(zip(HEMISPHERES, cortex.sum(axis=1).tolist(), strict=True)),
            "constant_vertices": sum(part.constant for part in left_right),
            "nan_vertices": sum(part.broken for part in left_right),
        }
    rows = np.ones(series.volumes, np.int16)  # a volume a second, of one scan
    return ConvertedRun(list(shards.values()), mean, std, cortex, rows, 0, provenance)


def check_run(series: ReadsBold, *, tr: float | None, volumes: int | None) -> None:
    """Raise a UserError unless a run has the TR and the number of volumes that its catalog states."""
    if tr is not None and abs(series.tr - tr) > 1e-3:
        raise UserError(f"{series.path}: has a TR of {series.tr:g} s, the catalog says {tr:g} s")
    if volumes is not None and series.volumes != volumes:
        raise UserError(f"{series.path}: has {series.volumes} volumes, the catalog says {volumes}")


def _paged_in(series: ReadsBold) -> Iterator[tuple[str, np.ndarray]]:
    """The hemispheres, with their values in memory: a byte of each page is touched, in order."""
    for hemisphere, source in series.cortices():
        source.reshape(-1).view(np.uint8)[:: mmap.PAGESIZE].max()
        yield hemisphere, source


def _convert_hemisphere(
    series: ReadsBold,
    hemisphere: str,
    source: np.ndarray,
    spheres: SphereFiles | None,
    encoding: Encoding,
    out: np.ndarray,
    processor: Executor,
) -> _Hemisphere:
    """Convert ``source`` (rows, volumes) to ``out`` (volumes, vertices), shared among threads.

    Rows without data are left out, as if the file did not have them. Those that never vary are seen at once;
    those with NaN show in what was made of them, which then is made again.
    """
    path = series.path
    mesh = series.density, hemisphere, spheres
    vertices = series.vertices[hemisphere]
    stretch = run_values.stretches(source, processor)
    usable, broken = stretch[0] < series.volumes, 0
    constant = int(np.count_nonzero(~usable))
    run_values.check_enough(path, hemisphere, usable, constant, broken)
    part = _convert_rows(source, _corners(mesh, vertices, usable), encoding, out, processor)
    if not np.isfinite(part.mean + part.std)[part.cortex].all():
        run_values.check_no_missing_volumes(path, hemisphere, source)
        finite = run_values.finite_rows(source, processor)
        broken = int(np.count_nonzero(~finite))
        constant = int(np.count_nonzero(~usable & finite))
        usable &= finite
        run_values.check_enough(path, hemisphere, usable, constant, broken)
        part = _convert_rows(source, _corners(mesh, vertices, usable), encoding, out, processor)
    run_values.check_volumes(path, hemisphere, source, usable)
    run_values.check_no_hole(path, hemisphere, source, stretch, usable, series.stored_kind)
    return replace(part, constant=constant, broken=broken)


def _convert_rows(
    source: np.ndarray, corners: Corners, encoding: Encoding, out: np.ndarray, processor: Executor
) -> _Hemisphere:
    vertices = len(corners.rows)
    mean, std = (np.empty(vertices, np.float32) for _ in range(2))

    def convert(first: int) -> int:
        some = slice(first, first + VERTICES_AT_ONCE)
        return convert_vertices(source, corners, some, encoding, out, mean, std)

    clipped = sum(processor.map(convert, range(0, vertices, VERTICES_AT_ONCE)))
    return _Hemisphere(mean, std, corners.cortex, clipped)


def _corners(mesh: Mesh, vertices: np.ndarray, usable: np.ndarray) -> Corners:
    """Those of the rows that are usable."""
    if usable.all():
        return _cached_corners(mesh, vertices.tobytes(), vertices.dtype.str)
    kept = np.flatnonzero(usable).astype(np.int32)
    corners = _corners_of(mesh, vertices[kept])
    return Corners(np.where(corners.rows >= 0, kept[corners.rows], np.int32(-1)), corners.weights)


@lru_cache(maxsize=8)
def _cached_corners(mesh: Mesh, vertices: bytes, dtype: str) -> Corners:
    return _corners_of(mesh, np.frombuffer(vertices, dtype))


def _corners_of(mesh: Mesh, vertices: np.ndarray) -> Corners:
    density, hemisphere, spheres = mesh
    return Corners.of(cortex_weights(density, hemisphere, vertices, spheres))


def memory_needed(run: Run, encoding: Encoding) -> int:
    """Bytes that a worker needs at most for a run: the rows of both hemispheres, and their shards.

    Rows are mapped, where the system may drop them, or were decompressed.
    """
    shard = icosphere_vertices(ORDER) * encoding.dtype.itemsize + CHECKSUM_BYTES
    return BASE_MEMORY + run.movie.length * (CORTEX_ROWS * 4 + len(HEMISPHERES) * shard)
