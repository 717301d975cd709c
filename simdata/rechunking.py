"""`simdata rechunk`: a copy of a store with its BOLD in another layout, and the values as they are."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, ZstdCodec

from simdata.common.cores import available_cores
from simdata.common.faults import of_store
from simdata.common.progress import Progress
from simdata.store.arrays import dimensions_of
from simdata.store.axes import check_variables
from simdata.store.chunk_codecs import encode_chunk
from simdata.store.copies import check_place, copy_all_but, unchanging, work_folder
from simdata.store.damage import check_runs
from simdata.store.direct import BoldReader
from simdata.store.history import HISTORY, lengthened
from simdata.store.layout import read_layout
from simdata.store.metadata import change
from simdata.store.named_layouts import NamedLayout, parse_layout
from simdata.store.opening import open_store
from simdata.store.schema import COMPLETE, quiet_zarr
from simdata.store.shards import write_durably, write_shard

CODECS = {
    "crc32c": lambda level, dtype: Crc32cCodec(),
    "zstd": lambda level, dtype: ZstdCodec(level=level),
    "blosc": lambda level, dtype: BloscCodec(cname="zstd", clevel=level, typesize=dtype.itemsize),
    "gzip": lambda level, dtype: GzipCodec(level=level),
}


class RechunkSummary(NamedTuple):
    """Bytes of BOLD in the store and in the one that was made of it."""

    before: int
    after: int


def rechunk(store: Path, out: Path, *, layout: str, progress: Progress) -> RechunkSummary:
    """Write ``store`` to ``out`` with ``bold`` in another layout.

    Everything else is copied byte for byte, but for what is said of the
    layout in the metadata and in the root attribute ``history``. Chunks
    are compared with their checksums on the way. ``out`` appears when it is whole; a call that was killed is
    continued by the next of the same kind. One run of one hemisphere is in memory at a time, and its encoded
    form.

    Parameters
    ----------
    layout : as `simdata.store.named_layouts.parse_layout` reads it

    Raises
    ------
    UserError
        If ``store`` is not a store or is being written to, if ``out`` exists, or for an invalid layout.
    OSError
        If a chunk is damaged.
    """
    named = parse_layout(layout)
    check_place(store, out)
    with unchanging(store), of_store(out):
        dataset = open_store(store)
        check_variables(dataset, store, ("bold", "run_status"))
        check_runs(store)
        complete = np.argwhere(dataset.run_status.values == COMPLETE).tolist()
        work = work_folder(store, out, "rechunking", {"layout": named.model_dump()})
        copy = work / "store"
        copy_all_but(store, copy, ("bold",))
        reader, writer = BoldReader(store, verify=True), BoldWriter(store, copy / "bold", named)
        progress.start("runs", len(complete), 0)
        for subject, movie in complete:
            for hemisphere in range(reader.shape[3]):
                writer.write_run(reader, subject, movie, hemisphere)
            progress.advance("runs")
        _describe(copy, named, layout)
        os.replace(copy, out)
        shutil.rmtree(work)
    return RechunkSummary(_size(store / "bold"), _size(out / "bold"))


class BoldWriter:
    """Writes runs in a named layout; an object that is there already is whole, and stays."""

    def __init__(self, store: Path, folder: Path, named: NamedLayout) -> None:
        if not (folder / "zarr.json").exists():
            array = zarr.open_array(store, path="bold", mode="r")
            _create_bold(array, folder, named, BoldReader(store).fill)
        self._folder, self._named = folder, named
        layout = read_layout(zarr.open_array(folder, mode="r"))
        assert layout is not None  # all named layouts can be read without zarr
        self._layout = layout
        self._pool = ThreadPoolExecutor(available_cores(), "simdata-encode")

    def write_run(self, reader: BoldReader, subject: int, movie: int, hemisphere: int) -> None:
        """Write a hemisphere of a run, unless it is there."""
        path = self._folder / self._layout.key(subject, movie, 0, hemisphere)
        if path.exists():
            return
        seconds = self._layout.seconds
        padded = np.full((self._layout.object_shape[2], reader.shape[4]), reader.fill, reader.dtype)
        reader.read_run(subject, movie, hemisphere, out=padded[: reader.shape[2]])
        chunks = list(self._pool.map(self._encode, padded.reshape(-1, seconds, reader.shape[4])))
        there = [chunk for chunk in chunks if chunk is not None]
        if not there:
            return
        unfinished = path.with_name(f"{path.name}.partial")
        if self._layout.index is None:
            write_durably(unfinished, there)
        else:
            write_shard(unfinished, chunks)
        os.replace(unfinished, path)

    def _encode(self, chunk: np.ndarray) -> bytes | None:
        """None for a chunk without data, which Zarr leaves out."""
        fill = self._layout.fill
        if (np.isnan(chunk) if np.isnan(fill) else chunk == fill).all():
            return None
        return encode_chunk(chunk, self._layout.codecs, self._named.level)


def _create_bold(source: zarr.Array, folder: Path, named: NamedLayout, fill: np.number) -> None:
    """The array without data, with the attributes of ``source``."""
    seconds, vertices = source.shape[2], source.shape[-1]
    side = (1,) * (source.ndim - 4)  # none in a store of parcels
    chunk = named.seconds or seconds
    whole_chunks = -(-seconds // chunk) * chunk  # a shard holds chunks of one length
    first = BytesCodec(endian="little" if source.dtype.itemsize > 1 else None)
    others = [CODECS[codec](named.level, source.dtype) for codec in named.codecs]
    sharding = ShardingCodec(chunk_shape=(1, 1, chunk, *side, vertices), codecs=[first, *others])
    zarr.create_array(
        folder,
        shape=source.shape,
        dtype=source.dtype,
        chunks=(1, 1, whole_chunks, *side, vertices),
        serializer=first if named.seconds is None else sharding,
        compressors=others if named.seconds is None else None,
        filters=None,
        fill_value=fill,
        attributes=dict(source.attrs),
        dimension_names=dimensions_of(source),
    )


def _describe(copy: Path, named: NamedLayout, text: str) -> None:
    """Say what was done."""
    group = zarr.open_group(copy, mode="r+")
    change(group, layout=named.model_dump(exclude_none=True))
    group.attrs[HISTORY] = lengthened(group.attrs, f"rechunk --layout {text}")
    with quiet_zarr():
        zarr.consolidate_metadata(copy)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
