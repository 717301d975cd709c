"""What ``zarr.json`` says of ``bold``: how it is cut into objects and chunks, and how they are encoded.

A `Layout` stands for what can be read without zarr's own pipeline: chunks of one run and hemisphere and one
or more seconds, alone or in shards of any shape (Zarr v3 core and sharding-indexed codec 1.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr

from simdata.common.errors import UserError
from simdata.common.film_clock import BLOCK
from simdata.store.arrays import dimensions_of

INDEX_ENTRY = 16  # bytes: offset and length of a chunk, uint64 each
CHECKSUM = 4  # bytes of a crc32c
BYTE_CODECS = {"crc32c", "zstd", "blosc", "gzip"}
PARCEL = "parcel"  # the axis that a store of parcels has in place of hemisphere and vertex
KEYS = {"default": (["c"], "/"), "v2": ([], ".")}  # how a key begins, and what stands between its parts


@dataclass(frozen=True)
class ShardIndex:
    """The table of chunks in a shard: where it stands, and whether a crc32c follows it."""

    location: Literal["start", "end"]
    checksum: bool


@dataclass(frozen=True)
class Layout:
    """How an array (subject, movie, second, hemisphere, vertex) is stored.

    One of parcels, (subject, movie, second, parcel), is described as if it had one hemisphere.

    Attributes
    ----------
    has_hemispheres : whether the array itself has that axis
    object_shape : of what one key holds, a shard or a chunk
    seconds : of a chunk; a chunk has one subject, movie and hemisphere, and every vertex
    codecs : what was done to a chunk's little-endian bytes, in this order: crc32c or a compression
    index : None if an object is one chunk
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fill: Any
    object_shape: tuple[int, ...]
    seconds: int
    codecs: tuple[str, ...]
    index: ShardIndex | None
    key_start: tuple[str, ...]
    key_separator: str
    has_hemispheres: bool = True

    @property
    def chunks_per_object(self) -> tuple[int, int, int, int]:
        """Along subject, movie, second and hemisphere."""
        subjects, movies, seconds, hemispheres, _ = self.object_shape
        return subjects, movies, seconds // self.seconds, hemispheres

    @property
    def is_as_built(self) -> bool:
        """Whether `simdata build` writes so: a shard a run and hemisphere, a chunk with crc32c a second."""
        run = (1, 1, self.shape[2], 1, self.shape[4])
        default_keys = (self.key_start, self.key_separator) == (("c",), "/")
        second = (self.object_shape, self.seconds, self.codecs) == (run, 1, ("crc32c",))
        return second and default_keys and self.index == ShardIndex("end", checksum=True)

    @property
    def objects_per_run(self) -> int:
        return -(-self.shape[2] // self.object_shape[2])

    @property
    def row_bytes(self) -> int:
        """Bytes of one second."""
        return self.shape[4] * self.dtype.itemsize

    @property
    def is_plain(self) -> bool:
        """Whether a chunk's values lie in it as they do in memory, with at most checksums behind them."""
        return set(self.codecs) <= {"crc32c"}

    @property
    def plain_bytes(self) -> int:
        """Bytes of a chunk that is not compressed, with its checksums."""
        return self.seconds * self.row_bytes + CHECKSUM * len(self.codecs)

    @property
    def index_bytes(self) -> int:
        if self.index is None:
            return 0
        return int(np.prod(self.chunks_per_object)) * INDEX_ENTRY + CHECKSUM * self.index.checksum

    def key(self, subject: int, movie: int, block: int, hemisphere: int) -> str:
        """The key of the object that holds a run and hemisphere's ``block``-th stretch of time."""
        subjects, movies, _, hemispheres, _ = self.object_shape
        side = [hemisphere // hemispheres] if self.has_hemispheres else []
        position = (subject // subjects, movie // movies, block, *side, 0)
        return self.key_separator.join([*self.key_start, *map(str, position)])


def has_parcels(array: zarr.Array) -> bool:
    """Whether an array with BOLD is (subject, movie, second, parcel)."""
    return array.ndim == 4 and dimensions_of(array)[-1:] == (PARCEL,)


def with_one_hemisphere(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape (subject, movie, second, parcel) as (subject, movie, second, 1, parcel)."""
    return (*shape[:3], 1, *shape[3:])


def check_chunks(group: zarr.Group, place: str | Path) -> None:
    """Raise a UserError unless the small arrays lie in chunks of one run, or of one movie and a block of it.

    Writers move such chunks into place, and take them away.
    """
    for name, array in group.arrays():
        if name in ("bold_mean", "bold_std"):
            wanted = (1, 1, *array.shape[2:])
        elif name in ("frame", "waveform") or "modality" in array.attrs:
            wanted = (1, BLOCK, *array.shape[2:])
        else:
            continue
        if array.chunks != wanted or array.shards is not None:
            raise UserError(
                f"{place}: its {name} is in chunks of {array.chunks}, not {wanted}, as other software chose "
                "them: nothing can be put into it. Write to the store that it was made from"
            )


def read_layout(array: zarr.Array) -> Layout | None:
    """The layout of an array; None if only zarr can read it."""
    of_parcels = has_parcels(array)
    usual = array.metadata.zarr_format == 3 and array.dtype.kind in "iuf"
    if not usual or not (array.ndim == 5 or of_parcels):
        return None
    in_five = with_one_hemisphere if of_parcels else tuple
    metadata: dict[str, Any] = dict(array.metadata.to_dict())
    grid, keys = metadata["chunk_grid"], metadata["chunk_key_encoding"]
    if grid["name"] != "regular" or keys["name"] not in KEYS or metadata.get("storage_transformers"):
        return None
    object_shape = chunk_shape = in_five(grid["configuration"]["chunk_shape"])
    codecs, index = metadata["codecs"], None
    if [codec["name"] for codec in codecs] == ["sharding_indexed"]:
        sharding = codecs[0]["configuration"]
        index = _read_index(sharding)
        if index is None:
            return None
        chunk_shape, codecs = in_five(sharding["chunk_shape"]), sharding["codecs"]
    *single, vertices = chunk_shape
    one_hemisphere = (*single[:2], single[3], vertices) == (1, 1, 1, array.shape[-1])
    names = _little_endian_codecs(codecs)
    if not one_hemisphere or object_shape[4] != vertices or names is None:
        return None
    start, separator = KEYS[keys["name"]]
    return Layout(
        shape=in_five(array.shape),
        dtype=array.dtype,
        fill=array.fill_value,
        object_shape=object_shape,
        seconds=chunk_shape[2],
        codecs=tuple(names),
        index=index,
        key_start=tuple(start),
        key_separator=keys.get("configuration", {}).get("separator", separator),
        has_hemispheres=not of_parcels,
    )


def _read_index(sharding: dict[str, Any]) -> ShardIndex | None:
    codecs = _little_endian_codecs(sharding["index_codecs"])
    if codecs not in ([], ["crc32c"]):
        return None
    return ShardIndex(sharding.get("index_location", "end"), bool(codecs))


def _little_endian_codecs(codecs: Sequence[dict[str, Any]]) -> list[str] | None:
    """Names of the codecs behind ``bytes``; None if values are not little-endian or a codec is unknown."""
    first, *others = codecs
    little = first["name"] == "bytes" and first.get("configuration", {}).get("endian", "little") == "little"
    names = [codec["name"] for codec in others]
    return names if little and set(names) <= BYTE_CODECS else None
