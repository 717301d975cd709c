"""One run from CIFTI to shards: resample, normalise, encode, transpose, write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from simdata.checksum import sha256
from simdata.cifti import CortexBlock, DenseSeries, check_run, open_dtseries
from simdata.encoding import Encoding
from simdata.errors import UserError
from simdata.meshes import HEMISPHERES, icosphere_vertices
from simdata.resample import ORDER, cortex_weights
from simdata.sources import Fingerprint, Run
from simdata.store.shards import CHECKSUM_BYTES, ShardBuffer

MEGABYTE = 2**20
BLOCK_BYTES = MEGABYTE  # float32 values resampled at once: small enough for the processor's cache
# Imports, weights and the header's XML, and the mapped pages of one hemisphere, which the system may drop.
BASE_MEMORY = 550 * MEGABYTE
MAX_GRAYORDINATES = 170_494
FLAT_LIMIT = 0.05  # largest share of cortex rows without any variance in a usable run


@dataclass(frozen=True)
class ConvertedRun:
    """What is left to publish once the shards of a run lie in ``shards`` (a path per hemisphere).

    Attributes
    ----------
    mean, std : (hemisphere, vertex) float32, NaN outside the cortex, scanner units
    cortex : (hemisphere, vertex) bool
    provenance : the source's path, size, mtime, hash and mesh, and the share of values that were clipped
    """

    shards: list[Path]
    mean: np.ndarray
    std: np.ndarray
    cortex: np.ndarray
    provenance: dict[str, str | int | float]


def convert_run(
    run: Run,
    *,
    tr: float,
    capacity: int,
    encoding: Encoding,
    staging: Path,
    checksum: bool,
) -> ConvertedRun:
    """Convert one run into two shards below ``staging``.

    Parameters
    ----------
    capacity : seconds that a shard has room for
    checksum : whether to hash the source

    Raises
    ------
    UserError
        If the source's header, length or values are not those of the catalog's run.
    """
    fingerprint = Fingerprint.of(run.path)
    digest = sha256(run.path) if checksum else ""
    series = open_dtseries(run.path)
    check_run(series, tr=tr, volumes=run.movie.volumes)
    shards, parts = [], []
    for hemisphere in HEMISPHERES:
        path = staging / f"{run.subject}-{run.movie.name}-{hemisphere}.shard"
        parts.append(_convert_hemisphere(series, hemisphere, capacity, encoding, path))
        shards.append(path)
    mean, std, cortex, clipped = (list(part) for part in zip(*parts, strict=True))
    provenance = {
        **fingerprint.as_record(run.relative, digest),
        "density": series.density,
        "clipped": sum(clipped) / float(np.sum(cortex) * series.volumes),
    }
    return ConvertedRun(shards, np.stack(mean), np.stack(std), np.stack(cortex), provenance)


def _convert_hemisphere(
    series: DenseSeries, hemisphere: str, capacity: int, encoding: Encoding, path: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    weights = _weights(series.density, series.blocks[hemisphere])
    source = series.cortex(hemisphere)
    buffer = ShardBuffer(series.volumes, capacity, weights.shape[0], encoding.dtype)
    mean, std = (np.full(weights.shape[0], np.nan, np.float32) for _ in range(2))
    cortex = np.diff(weights.indptr) > 0
    clipped = 0
    for rows in _row_blocks(weights.shape[0], series.volumes):
        inside = cortex[rows]
        values = weights[rows] @ source
        mean[rows], std[rows] = _standardise(values)
        mean[rows][~inside] = std[rows][~inside] = np.nan
        with np.errstate(invalid="ignore"):  # a source with NaN is refused below
            clipped += encoding.encode(values.T, buffer.values[:, rows])
        buffer.values[:, rows][:, ~inside] = encoding.fill
    _check_values(series, hemisphere, mean[cortex], std[cortex])
    buffer.write(path)
    return mean, std, cortex, clipped


def _weights(density: str, block: CortexBlock) -> csr_array:
    return _cached_weights(density, block.vertices.tobytes(), block.vertices.dtype.str)


@lru_cache(maxsize=8)
def _cached_weights(density: str, vertices: bytes, dtype: str) -> csr_array:
    return cortex_weights(density, np.frombuffer(vertices, dtype))


def _row_blocks(vertices: int, volumes: int) -> Iterator[slice]:
    rows = max(1, BLOCK_BYTES // (volumes * 4))
    for start in range(0, vertices, rows):
        yield slice(start, min(start + rows, vertices))


def _standardise(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Z-score (vertices, volumes) in place; a vertex that never varies becomes zero. Returns mean and s.d."""
    mean = values.mean(axis=1, dtype=np.float64).astype(np.float32)
    values -= mean[:, None]
    squares = np.einsum("ij,ij->i", values, values, dtype=np.float64)
    std = np.sqrt(squares / values.shape[1]).astype(np.float32)
    values *= np.divide(1, std, out=np.zeros_like(std), where=std > 0)[:, None]
    return mean, std


def _check_values(series: DenseSeries, hemisphere: str, mean: np.ndarray, std: np.ndarray) -> None:
    if broken := int(np.count_nonzero(~np.isfinite(mean + std))):
        found = f"{broken:,} of {len(mean):,} vertices of {hemisphere} have NaN or infinite values"
        raise UserError(f"{series.path}: {found}; download it again")
    if (flat := np.mean(std == 0)) > FLAT_LIMIT:
        raise UserError(f"{series.path}: {flat:.0%} of the vertices of {hemisphere} never change their value")


def memory_needed(run: Run, encoding: Encoding) -> int:
    """Bytes that a worker needs at most for a run; a compressed source is held whole, others are mapped."""
    shard = run.movie.volumes * (icosphere_vertices(ORDER) * encoding.dtype.itemsize + CHECKSUM_BYTES)
    source = MAX_GRAYORDINATES * run.movie.volumes * 4 if run.path.suffix == ".gz" else 0
    return BASE_MEMORY + shard + source
