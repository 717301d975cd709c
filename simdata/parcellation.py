"""`simdata parcellate`: a copy of a store with the means of an atlas's parcels in place of its vertices."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from scipy.sparse import csr_array

from simdata.common.checksum import sha256
from simdata.common.errors import UserError
from simdata.common.faults import of_store
from simdata.common.progress import Progress
from simdata.store import schema
from simdata.store.arrays import array_of
from simdata.store.axes import check_axes, is_of_parcels
from simdata.store.copies import check_place, copy_all_but, unchanging, work_folder
from simdata.store.coverage import covered, settle
from simdata.store.damage import check_runs
from simdata.store.direct import BoldReader
from simdata.store.encoding import ENCODINGS, Encoding
from simdata.store.history import HISTORY, lengthened
from simdata.store.metadata import Metadata, change
from simdata.store.opening import open_store
from simdata.store.parcel_arrays import ParcelAxis, parcel_variables
from simdata.store.run_codes import run_codes
from simdata.store.shards import ShardBuffer
from simdata.surface.atlas import MESHES, Parcels, mesh_of, on_stored_mesh, read_atlas
from simdata.surface.meshes import HEMISPHERES

STATISTICS = ("bold_mean", "bold_std")
REPLACED = ("bold", *STATISTICS, "cortex")
NEEDED = ("bold", "cortex", "run_status", "volumes")
NO_PARCEL = -1
BLOCK = 64  # s of a run that are averaged at once
OTHERWISE = {"unknown", "???", "none", "medial_wall", "medial wall", "freesurfer_defined_medial_wall"}
ROUNDING = 1e-6  # of a parcel's mean: what varies by less does not vary


@dataclass(frozen=True)
class ParcellateSummary:
    """What a store has in place of vertices.

    Attributes
    ----------
    parcels : names, along the axis
    runs : that were averaged
    fewest : vertices of the cortex in the smallest parcel
    without : names of the atlas's parcels that lie outside the cortex, and so are none of the store's
    """

    parcels: list[str]
    runs: int
    fewest: int
    without: list[str]


@dataclass(frozen=True)
class ParcelTable:
    """The parcels of a store, left ones first, by their keys.

    Attributes
    ----------
    names, hemispheres : of each
    labels : (hemispheres, vertices) int32, a vertex's position in ``names``, or -1
    without : names of parcels without any cortex
    """

    names: list[str]
    hemispheres: list[str]
    labels: np.ndarray
    without: list[str]

    @classmethod
    def of(cls, atlas: Mapping[str, Parcels], cortex: np.ndarray) -> ParcelTable:
        """Those of an atlas on the store's mesh that have vertices in the cortex (hemispheres, vertices)."""
        labels = np.full(cortex.shape, NO_PARCEL, np.int32)
        found: list[tuple[str, str]] = []
        without = []
        for side, hemisphere in enumerate(HEMISPHERES):
            if hemisphere not in atlas:
                continue
            parcels = atlas[hemisphere]
            here = np.where(cortex[side], parcels.keys, 0)
            inside = set(np.unique(here).tolist())
            for key in sorted({*parcels.names} & set(np.unique(parcels.keys).tolist()) - {0}):
                name = parcels.names[key]
                if key not in inside:
                    without.append(f"{hemisphere} {name}")
                elif not _is_no_parcel(name):
                    labels[side, here == key] = len(found)
                    found.append((hemisphere, name))
        names = [name for _, name in found]
        if len(set(names)) < len(names):  # an atlas may call both hemispheres' parcels the same
            names = [f"{hemisphere} {name}" for hemisphere, name in found]
        return cls(names, [hemisphere for hemisphere, _ in found], labels, without)


def parcellate(
    store: Path, atlas: Sequence[Path], out: Path, *, mesh: str | None, encoding: str, progress: Progress
) -> ParcellateSummary:
    """Write to ``out`` a copy of ``store`` with ``parcel`` in place of its hemispheres and vertices.

    A parcel's value is the mean over its vertices of the cortex, in the scanner's units, as of Connectome
    Workbench's ``-cifti-parcellate``; then it is z-scored over its run. Vertices without data in a run are
    left out of it. One block of a run is in memory at a time. ``out`` appears when it is whole; a call that
    was killed is continued by the next of the same kind.

    Parameters
    ----------
    mesh : that the atlas is on, a key of `MESHES`; None: the one of so many vertices

    Raises
    ------
    UserError
        If ``store`` is no store of vertices or is being written to, if ``out`` exists, or if the atlas cannot
        be read, is on another mesh, or has no parcel with cortex.
    OSError
        If a chunk is damaged.
    """
    check_place(store, out)
    labelled = _on_store(atlas, mesh)
    with unchanging(store), of_store(out):
        dataset = open_store(store)
        table = _table(store, dataset, labelled, ", ".join(map(str, atlas)))
        source = {"files": [path.name for path in atlas], "sha256": [sha256(path) for path in atlas]}
        work = work_folder(store, out, "parcellating", {**source, "mesh": mesh, "encoding": encoding})
        copy = work / "store"
        copy_all_but(store, copy, REPLACED)
        if not (copy / "bold").exists():
            _create(copy, work / "arrays", dataset, table, ENCODINGS[encoding])
        runs = np.argwhere(dataset.run_status.values == schema.COMPLETE).tolist()
        averages = _Averages(store, dataset, table, ENCODINGS[encoding])
        progress.start("runs", len(runs), 0)
        for subject, movie in runs:
            averages.write(copy, subject, movie)
            progress.advance("runs")
        _finish(copy, store, dataset, source, encoding)
        os.replace(copy, out)
        shutil.rmtree(work)
    counts = np.bincount(table.labels[table.labels >= 0], minlength=len(table.names))
    return ParcellateSummary(table.names, len(runs), int(counts.min()), table.without)


def _table(store: Path, dataset: xr.Dataset, labelled: Mapping[str, Parcels], listed: str) -> ParcelTable:
    """The parcels that a store is to have, by an atlas on its mesh; ``listed`` are its files, in messages.

    Raises
    ------
    UserError
        If the store lacks what is averaged, or the atlas has no parcel with cortex, or two of one name.
    """
    if is_of_parcels(dataset):
        raise UserError(f"{store}: has parcels already; give the store that it was made from")
    check_axes(dataset, store, NEEDED)
    if lacking := [name for name in STATISTICS if name not in dataset]:
        raise UserError(f"{store}: has no {' and no '.join(lacking)}, by which its z-scores are undone")
    check_runs(store)
    table = ParcelTable.of(labelled, dataset.cortex.values.astype(bool))
    if not table.names:
        raise UserError(f"{listed}: has no parcel with vertices in the store's cortex")
    if twice := sorted({name for name in table.names if table.names.count(name) > 1}):
        raise UserError(f"{listed}: two parcels of a hemisphere are called {twice[0]}")
    return table


def _on_store(paths: Sequence[Path], mesh: str | None) -> dict[str, Parcels]:
    """The parcels of an atlas on the mesh of stores."""
    listed = ", ".join(map(str, paths))
    atlas = read_atlas(paths)
    if not atlas:
        raise UserError(f"{listed}: has no parcels of the cortex")
    resampled = {}
    for hemisphere, parcels in atlas.items():
        number = len(parcels.keys)
        found = mesh_of(paths[0], number) if mesh is None else mesh
        if found is None:
            meshes = ", ".join(f"{name} ({count:,})" for name, count in MESHES.items())
            raise UserError(
                f"{listed}: {hemisphere} has {number:,} vertices, which do not tell its mesh; take the atlas "
                f"on one of these, and say with `mesh` on which: {meshes}"
            )
        if MESHES[found] != number:
            raise UserError(
                f"{listed}: {hemisphere} has {number:,} vertices, and `mesh` {mesh} has {MESHES[found]:,}"
            )
        resampled[hemisphere] = on_stored_mesh(parcels, found, hemisphere)
    return resampled


def _is_no_parcel(name: str) -> bool:
    """Whether a name of an atlas says that there is none."""
    return name.lower().removeprefix("background+") in OTHERWISE


class _Averages:
    """Means of parcels, run by run."""

    def __init__(self, store: Path, dataset: xr.Dataset, table: ParcelTable, encoding: Encoding) -> None:
        self._reader, self._dataset, self._table = BoldReader(store, verify=True), dataset, table
        self._encoding, self._scans = encoding, np.abs(run_codes(dataset, store))

    def write(self, copy: Path, subject: int, movie: int) -> None:
        """Put a run in the store that is made, unless it is there: its shard comes last."""
        shard = copy / f"bold/c/{subject}/{movie}/0/0"
        if shard.exists():
            return
        scans = self._scans[subject, movie]
        values = self._of_run(subject, movie, int(np.flatnonzero(scans).max(initial=-1)) + 1)
        mean, std = _standardise(values, scans[: len(values)])
        buffer = ShardBuffer(len(values), len(scans), len(self._table.names), self._encoding.dtype)
        buffer.values[:] = self._encoding.encoded(values)
        group = zarr.open_group(copy, mode="r+", use_consolidated=False)
        for name, of_run in zip(STATISTICS, (mean, std), strict=True):
            array_of(group, name)[subject, movie] = of_run
        unfinished = shard.with_name("0.partial")
        buffer.write(unfinished)
        os.replace(unfinished, shard)

    def _of_run(self, subject: int, movie: int, length: int) -> np.ndarray:
        """(seconds, parcels) float64 in the scanner's units; NaN in a parcel without data."""
        of_run = self._dataset.isel(subject=subject, movie=movie)
        mean, std = (of_run[name].values.astype(np.float64) for name in STATISTICS)
        inside = (self._table.labels != NO_PARCEL) & ~np.isnan(mean)
        counts = np.bincount(self._table.labels[inside], minlength=len(self._table.names))
        values = np.zeros((length, len(counts)))
        values[:, counts == 0] = np.nan
        for side in range(len(inside)):
            vertices = np.flatnonzero(inside[side])
            if not len(vertices):
                continue
            parcels = self._table.labels[side, vertices]
            share = 1 / counts[parcels]
            shape = (len(counts), len(vertices))
            scale = share * std[side, vertices] * self._reader.scale_factor
            weights = csr_array((scale, (parcels, np.arange(len(vertices)))), shape=shape)
            offset = np.bincount(parcels, share * mean[side, vertices], len(counts))
            for start in range(0, length, BLOCK):
                seconds = min(BLOCK, length - start)
                stored = self._reader.read(np.array([[subject, movie, start, side]]), seconds)[0]
                averaged = (weights @ stored[:, vertices].T.astype(np.float64)).T
                values[start : start + seconds] += averaged + offset
        return values


def _standardise(values: np.ndarray, scans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """z-score (seconds, parcels) over each scan, in place; mean and s.d., over scans weighted by seconds.

    Parameters
    ----------
    scans : (seconds,) int, of which scan each second is; 0: of none, and without data
    """
    mean, std = np.zeros((2, values.shape[1]))
    for scan in np.unique(scans[scans > 0]):
        rows = scans == scan
        own, share = values[rows], rows.sum() / (scans > 0).sum()
        centre, spread = own.mean(axis=0), own.std(axis=0)
        spread[spread <= ROUNDING * np.abs(centre)] = 0
        values[rows] = (own - centre) / np.where(spread == 0, np.inf, spread)
        mean += share * centre
        std += share * spread
    values[scans == 0] = np.nan
    return mean.astype(np.float32), std.astype(np.float32)


def _create(copy: Path, arrays: Path, dataset: xr.Dataset, table: ParcelTable, encoding: Encoding) -> None:
    """Put the arrays of parcels, without data, in a copy of a store that lacks those of vertices."""
    sizes = tuple(dataset.sizes[axis] for axis in ("subject", "movie", "second"))
    axis = ParcelAxis(tuple(table.names), tuple(table.hemispheres))
    new = xr.Dataset(parcel_variables(sizes, axis, encoding)).set_coords("parcel_hemisphere")
    labels = xr.Variable(
        ("hemisphere", "vertex"),
        table.labels,
        {"long_name": f"position along parcel of the parcel that a vertex is in; {NO_PARCEL}: in none"},
        {"chunks": table.labels.shape},
    )
    shutil.rmtree(arrays, ignore_errors=True)
    with schema.quiet_zarr():
        new.assign(parcels=labels).to_zarr(arrays, compute=False, zarr_format=3, consolidated=False)
    for array in arrays.iterdir():
        if array.is_dir() and array.name != "bold":
            shutil.rmtree(copy / array.name, ignore_errors=True)
            os.replace(array, copy / array.name)
    os.replace(arrays / "bold", copy / "bold")  # last: what tells that all are there


def _finish(copy: Path, store: Path, dataset: xr.Dataset, source: dict[str, Any], encoding: str) -> None:
    """Settle which parcels all runs have, and say what was done."""
    group = zarr.open_group(copy, mode="r+", use_consolidated=False)
    if inside := covered(group):
        coverage = settle(inside, array_of(group, "cortex").shape[-1])
        array_of(group, "cortex")[:] = coverage.cortex[0]
    metadata = Metadata.of(dataset, store)
    recipe = metadata.recipe | {
        "parcels": source,
        "encoding": encoding,
        "normalisation": "z-score per parcel and run",
    }
    layout = {"layout": {"name": "seconds", "seconds": 1}} if metadata.layout else {}
    change(group, recipe=recipe, **layout)
    group.attrs[HISTORY] = lengthened(dataset.attrs, f"parcellate {' '.join(source['files'])}")
    with schema.quiet_zarr():
        zarr.consolidate_metadata(copy)
