"""``bold`` arrays in many layouts, written by zarr itself."""

from __future__ import annotations

import numpy as np
import zarr
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, ZstdCodec

SUBJECTS, MOVIES, SECONDS, HEMISPHERES, VERTICES = 2, 2, 12, 2, 30
SHAPE = (SUBJECTS, MOVIES, SECONDS, HEMISPHERES, VERTICES)
DTYPES = ("int8", "uint8", "int16", "float16", "float32", "float64")
CODECS = (Crc32cCodec(), ZstdCodec(), ZstdCodec(checksum=True), BloscCodec(), GzipCodec(level=1))


def write_bold(
    store,
    values,
    codecs=(),
    *,
    object_shape,
    chunk_shape=None,
    endian="little",
    filters=(),
    index=None,
    keys=None,
    write_empty_chunks=False,
):
    """An array ``bold``; ``chunk_shape`` makes shards of ``object_shape``."""
    inner = [BytesCodec(endian=endian if values.dtype.itemsize > 1 else None), *codecs]
    layout = {"serializer": inner[0], "compressors": inner[1:] or None}
    if chunk_shape is not None:
        sharding = ShardingCodec(chunk_shape=chunk_shape, codecs=inner, **(index or {}))
        layout = {"serializer": sharding, "compressors": None}
    array = zarr.create_array(
        store,
        name="bold",
        shape=values.shape,
        dtype=values.dtype,
        chunks=object_shape,
        fill_value=missing(values.dtype),
        filters=filters or None,
        attributes={"scale_factor": 0.0625},
        chunk_key_encoding=keys,
        config={"write_empty_chunks": write_empty_chunks},
        **layout,
    )
    array[...] = values
    return array


def missing(dtype):
    return np.nan if np.dtype(dtype).kind == "f" else np.iinfo(dtype).min


def noise(dtype, seed=0, shape=SHAPE):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) * 20 + 60).astype(dtype)


def divisors_of(number):
    return st.sampled_from([n for n in range(1, number + 1) if number % n == 0])


@st.composite
def layouts(draw):
    """Values with stretches missing, and how to write them: arguments of `write_bold`."""
    values = noise(draw(st.sampled_from(DTYPES)), seed=draw(st.integers(0, 9)))
    for run in draw(st.sets(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 1)), max_size=6)):
        first, stop = sorted(draw(st.tuples(st.integers(0, SECONDS), st.integers(0, SECONDS))))
        values[run[0], run[1], first:stop, run[2]] = missing(values.dtype)
    seconds = draw(st.integers(1, SECONDS + 2))
    layout = {
        "codecs": draw(st.lists(st.sampled_from(CODECS), max_size=2)),
        "object_shape": (1, 1, seconds, 1, VERTICES),
    }
    if draw(st.booleans()):
        index_codecs = [BytesCodec(), *([Crc32cCodec()] if draw(st.booleans()) else [])]
        location = draw(st.sampled_from(["start", "end"]))
        layout["chunk_shape"] = (1, 1, draw(divisors_of(seconds)), 1, VERTICES)
        layout["index"] = {"index_codecs": index_codecs, "index_location": location}
        together = [draw(st.integers(1, 3)) for _ in range(3)]
        layout["object_shape"] = (*together[:2], seconds, together[2], VERTICES)
    layout["write_empty_chunks"] = draw(st.booleans())
    name = draw(st.sampled_from(["default", "v2"]))
    layout["keys"] = {"name": name, "separator": draw(st.sampled_from(["/", "."]))}
    return values, layout


@st.composite
def windows(draw):
    """Index and number of frames."""
    frames = draw(st.integers(1, SECONDS))
    window = st.tuples(
        st.integers(0, SUBJECTS - 1),
        st.integers(0, MOVIES - 1),
        st.integers(0, SECONDS - frames),
        st.integers(0, HEMISPHERES - 1),
    )
    return np.array(draw(st.lists(window, min_size=1, max_size=40))), frames
