"""One cell from its scans to shards: read, resample, clean, normalise, encode and write, beside one another.

A cell has one scan or several. Each is cleaned and z-scored by itself, and gives the rows that it has.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from simdata.bold import run_values
from simdata.bold.conversion_kernel import Passage, convert_vertices
from simdata.bold.formats import open_run
from simdata.bold.opened_run import PARCELS, CheckedRun
from simdata.bold.prepared_scan import PreparedScan, prepare, row_codes
from simdata.common.checksum import sha256
from simdata.common.errors import UserError
from simdata.common.faults import of_store
from simdata.common.read_ahead import read_ahead
from simdata.release.clean_rule import NOTHING, Clean
from simdata.release.source_records import fingerprints, source_record
from simdata.release.sources import Run, Scan
from simdata.store.converted import ConvertedRun
from simdata.store.encoding import Encoding
from simdata.store.lock import new_folder
from simdata.store.shards import CHECKSUM_BYTES, ShardBuffer
from simdata.surface.meshes import HEMISPHERES, MESH_VERTICES, icosphere_vertices
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
    clean: Clean = NOTHING,
    mesh: str | None = None,
    spheres: SphereFiles | None = None,
    parcels: tuple[str, ...] = (),
) -> ConvertedRun:
    """Convert one cell into two shards below ``staging``, or into one of parcels.

    Parameters
    ----------
    tr : s, that all scans must have; None if they may have any
    capacity : seconds that a shard has room for
    checksum : whether to hash the sources
    threads : that convert and hash; while they do, another reads the next hemisphere, and one writes the last
    clean : what is taken out of each scan
    mesh : of files that do not say which of two they are on
    parcels : names of those of the store, which the scans must have; none in a store of vertices
    spheres : in place of those by formula, and of the registration that comes with simdata

    Raises
    ------
    UserError
        If the header or the plays of a scan are not what they must be (`simdata.bold.prepared_scan.prepare`),
        or its values (`simdata.bold.run_values`).
    """
    taken = fingerprints(run)
    scans = prepare(run, tr, clean, mesh)
    for scan in scans:
        _check_places(scan.series, parcels)
    codes = row_codes(scans)
    folder = new_folder(staging)
    targets = {PARCELS: len(parcels)} if parcels else dict.fromkeys(HEMISPHERES, icosphere_vertices(ORDER))
    shards = {hemisphere: folder / f"{hemisphere}.shard" for hemisphere in targets}
    cell = _Cell(codes, encoding, capacity, spheres, targets)
    written = []
    with ThreadPoolExecutor(threads) as processor, ThreadPoolExecutor(1) as disk:
        hashed = run.inputs if checksum else {}
        digests = {name: processor.submit(sha256, path) for name, path in hashed.items()}
        for scan in scans:
            with closing(read_ahead(_paged_in(scan.series))) as hemispheres:
                for hemisphere, source in hemispheres:
                    cell.convert(scan, hemisphere, source, processor)
                    if scan is scans[-1]:
                        written.append(disk.submit(cell.finished(hemisphere).write, shards[hemisphere]))
        with of_store(staging):
            for writing in written:
                writing.result()
        left_right = [cell.joined(hemisphere) for hemisphere in targets]
        mean, std, cortex = (np.stack([getattr(p, k) for p in left_right]) for k in ("mean", "std", "cortex"))
        provenance = {
            **source_record(run, taken, {name: digest.result() for name, digest in digests.items()}),
            "density": scans[0].series.density,
            "clipped": sum(p.clipped for p in left_right) / float(np.sum(cortex) * np.count_nonzero(codes)),
            "coverage": dict(zip(targets, cortex.sum(axis=1).tolist(), strict=True)),
            "constant_vertices": sum(part.constant for part in left_right),
            "nan_vertices": sum(part.broken for part in left_right),
        }
        if any(scan.passage for scan in scans):
            provenance["scans"] = [scan.record() for scan in scans]
    reach = max(scan.timing.reach for scan in scans)
    return ConvertedRun(list(shards.values()), mean, std, cortex, codes, reach, provenance)


def _check_places(series: CheckedRun, parcels: tuple[str, ...]) -> None:
    """Raise a UserError unless a scan has the parcels of the store, or vertices as it has."""
    found = series.parcels
    if found == parcels:
        return
    if not found or not parcels:
        has, others = ("parcels", "vertices") if found else ("vertices", "parcels")
        raise UserError(
            f"{series.path}: has {has}, and the store's other runs have {others}: build two stores"
        )
    differ = [
        f"{one} in place of {other}" for one, other in zip(found, parcels, strict=False) if one != other
    ]
    what = differ[0] if len(found) == len(parcels) else f"{len(found):,} parcels in place of {len(parcels):,}"
    raise UserError(f"{series.path}: has other parcels than the store: {what}")


class _Cell:
    """The shards of a cell while its scans are put in them.

    Parameters
    ----------
    targets : of each hemisphere, how many vertices it has in the store, or of ``parcels``, how many there are
    """

    def __init__(
        self,
        codes: np.ndarray,
        encoding: Encoding,
        capacity: int,
        spheres: SphereFiles | None,
        targets: Mapping[str, int],
    ) -> None:
        self._codes, self._encoding, self._capacity, self._spheres = codes, encoding, capacity, spheres
        self._targets = targets
        self._buffers: dict[str, ShardBuffer] = {}
        self._parts: dict[str, list[tuple[_Hemisphere, int]]] = {hemisphere: [] for hemisphere in targets}

    def convert(self, scan: PreparedScan, hemisphere: str, source: np.ndarray, processor: Executor) -> None:
        """Put in what a scan has of a hemisphere."""
        values, rows = self._buffer(hemisphere).values, scan.timing.rows
        in_order = np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows)))
        place = slice(rows[0], rows[0] + len(rows)) if in_order else rows
        out = values[place]  # a copy, if they are not in order
        part = _convert_hemisphere(scan, hemisphere, source, self._spheres, self._encoding, out, processor)
        if not in_order:
            values[place] = out
        self._parts[hemisphere].append((part, len(rows)))

    def _buffer(self, hemisphere: str) -> ShardBuffer:
        if hemisphere not in self._buffers:
            vertices = self._targets[hemisphere]
            buffer = ShardBuffer(len(self._codes), self._capacity, vertices, self._encoding.dtype)
            buffer.values[self._codes == 0] = self._encoding.fill
            self._buffers[hemisphere] = buffer
        return self._buffers[hemisphere]

    def finished(self, hemisphere: str) -> ShardBuffer:
        """The shard of a hemisphere, which all scans were put in; it is let go."""
        buffer = self._buffers.pop(hemisphere)
        if len(self._parts[hemisphere]) > 1:  # vertices that some scan has no data for
            buffer.values[:, ~self.joined(hemisphere).cortex] = self._encoding.fill
        return buffer

    def joined(self, hemisphere: str) -> _Hemisphere:
        """All scans together: means over them, weighted by rows, where all have data."""
        parts = [part for part, _ in self._parts[hemisphere]]
        weights = [rows for _, rows in self._parts[hemisphere]]
        mean, std = (
            np.average([getattr(part, name) for part in parts], axis=0, weights=weights).astype(np.float32)
            for name in ("mean", "std")
        )
        return _Hemisphere(
            mean,
            std,
            np.logical_and.reduce([part.cortex for part in parts]),
            clipped=sum(part.clipped for part in parts),
            constant=sum(part.constant for part in parts),
            broken=sum(part.broken for part in parts),
        )


def _paged_in(series: CheckedRun) -> Iterator[tuple[str, np.ndarray]]:
    """The hemispheres, with their values in memory: a byte of each page is touched, in order."""
    for hemisphere, source in series.cortices():
        source.reshape(-1).view(np.uint8)[:: mmap.PAGESIZE].max()
        yield hemisphere, source


def _convert_hemisphere(
    scan: PreparedScan,
    hemisphere: str,
    source: np.ndarray,
    spheres: SphereFiles | None,
    encoding: Encoding,
    out: np.ndarray,
    processor: Executor,
) -> _Hemisphere:
    """Convert ``source`` (rows, volumes) to ``out`` (seconds, vertices), shared among threads.

    Rows without data are left out, as if the file did not have them. Those that never vary are seen at once;
    those with NaN show in what was made of them, which then is made again.
    """
    series, passage = scan.series, scan.passage
    path, vertices = series.path, series.vertices[hemisphere]
    mesh = series.density, hemisphere, spheres
    stretch = run_values.stretches(source, processor)
    usable, broken = stretch[0] < series.volumes, 0
    constant = int(np.count_nonzero(~usable))
    run_values.check_enough(path, hemisphere, usable, constant, broken)
    part = _convert_rows(source, _corners(mesh, vertices, usable), passage, encoding, out, processor)
    if not np.isfinite(part.mean + part.std)[part.cortex].all():
        run_values.check_no_missing_volumes(path, hemisphere, source)
        finite = run_values.finite_rows(source, processor)
        broken = int(np.count_nonzero(~finite))
        constant = int(np.count_nonzero(~usable & finite))
        usable &= finite
        run_values.check_enough(path, hemisphere, usable, constant, broken)
        part = _convert_rows(source, _corners(mesh, vertices, usable), passage, encoding, out, processor)
    run_values.check_volumes(path, hemisphere, source, usable)
    run_values.check_no_hole(path, hemisphere, source, stretch, usable, series.stored_kind)
    return replace(part, constant=constant, broken=broken)


def _convert_rows(
    source: np.ndarray,
    corners: Corners,
    passage: Passage | None,
    encoding: Encoding,
    out: np.ndarray,
    processor: Executor,
) -> _Hemisphere:
    vertices = len(corners.rows)
    mean, std = (np.empty(vertices, np.float32) for _ in range(2))

    def convert(first: int) -> int:
        some = slice(first, first + VERTICES_AT_ONCE)
        return convert_vertices(source, corners, some, encoding, out, mean, std, passage)

    clipped = sum(processor.map(convert, range(0, vertices, VERTICES_AT_ONCE)))
    return _Hemisphere(mean, std, corners.cortex, clipped)


def _corners(mesh: Mesh, vertices: np.ndarray, usable: np.ndarray) -> Corners:
    """Those of the rows that are usable."""
    if mesh[0] == PARCELS:
        return Corners.one_to_one(usable)
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


def memory_needed(run: Run, encoding: Encoding, tr: float | None = None, mesh: str | None = None) -> int:
    """Bytes that a worker needs at most for a cell: the rows of both hemispheres of a scan, and the shards.

    Rows are mapped, where the system may drop them, or were decompressed. Headers say how many volumes there
    are; a scan whose header cannot be read will not be converted.
    """
    values = max(_values(part.scan, run.movie.length, tr, mesh) for part in run.parts)
    second = icosphere_vertices(ORDER) * encoding.dtype.itemsize + CHECKSUM_BYTES
    scattered = any(len(part.plays) > 1 for part in run.parts)  # rows are put in place from a third one
    shards = len(HEMISPHERES) + scattered
    return BASE_MEMORY + values * 4 + run.movie.length * shards * second


def _values(scan: Scan, seconds: int, tr: float | None, mesh: str | None) -> int:
    """Of both hemispheres of a scan, at most."""
    pair = len(scan.files) > 1
    try:
        run = open_run(*scan.files, tr=tr, mesh=mesh, inside=scan.inside)
    except UserError:
        return seconds * (2 * MESH_VERTICES["fsaverage7"] if pair else CORTEX_ROWS)
    rows = sum(map(len, run.vertices.values())) if pair else CORTEX_ROWS
    return max(seconds, run.volumes) * rows
