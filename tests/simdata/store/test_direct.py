import gc
import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr
from bold_files import (
    HEMISPHERES,
    MOVIES,
    SECONDS,
    SHAPE,
    SUBJECTS,
    VERTICES,
    layouts,
    missing,
    noise,
    windows,
    write_bold,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec
from zarr.storage import MemoryStore

from simdata.store import BoldReader, mapped
from simdata.store.chunkwise import ChunkReader
from simdata.store.layout import read_layout
from simdata.store.mapped import MappedReader
from simdata.store.shards import ShardBuffer

RUN, SECOND = (1, 1, SECONDS, 1, VERTICES), (1, 1, 1, 1, VERTICES)
AS_BUILT = {"object_shape": RUN, "chunk_shape": SECOND, "codecs": [Crc32cCodec()]}
COMPRESSED = AS_BUILT | {"codecs": [ZstdCodec()]}
FIRST = np.array([[0, 0, 0, 0]])


def expected(values, index, frames):
    return np.stack([values[s, m, t : t + frames, h] for s, m, t, h in index.tolist()])


@pytest.fixture
def as_built(tmp_path):
    write_bold(tmp_path, noise("int8"), **AS_BUILT)
    return tmp_path


def shard_of(folder):
    return folder / "bold/c/0/0/0/0/0"


@given(stored=layouts(), asked=windows(), threads=st.sampled_from([None, 1, 3]), local=st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_layout_reads_as_zarr_reads_it(tmp_path_factory, stored, asked, threads, local):
    values, layout = stored
    store = tmp_path_factory.mktemp("store") if local else MemoryStore()
    array = write_bold(store, values, **layout)
    truth = array[...]
    np.testing.assert_array_equal(truth, values)
    assert read_layout(array) is not None, "none of these is left to zarr"
    reader = BoldReader(store, threads=threads)
    for _ in range(2):  # once with indexes to be read, once with what is kept
        found = reader.read(*asked)
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, expected(truth, *asked))
    run = asked[0][0, [0, 1, 3]]
    np.testing.assert_array_equal(reader.read_run(*run), truth[run[0], run[1], :, run[2]])


OTHERS = {
    "big endian": {"object_shape": RUN, "endian": "big"},
    "both hemispheres in a chunk": {"object_shape": (1, 1, 4, 2, VERTICES)},
    "parts of the cortex": {"object_shape": (1, 1, 4, 1, 10)},
    "several runs in a chunk": {"object_shape": (2, 1, 4, 1, VERTICES)},
    "both hemispheres in a chunk of a shard": {
        "object_shape": (1, 1, SECONDS, 2, VERTICES),
        "chunk_shape": (1, 1, 1, 2, VERTICES),
    },
    "time last": {"object_shape": RUN, "filters": [TransposeCodec(order=(0, 1, 3, 4, 2))]},
}


@pytest.mark.parametrize("layout", OTHERS.values(), ids=OTHERS)
def test_other_layouts_are_left_to_zarr(tmp_path, layout):
    values = noise("int16")
    assert read_layout(write_bold(tmp_path, values, **layout)) is None
    index = np.array([[1, 1, 3, 1], [0, 0, 8, 0]])
    np.testing.assert_array_equal(BoldReader(tmp_path).read(index, 4), expected(values, index, 4))


def test_zarr_v2_is_left_to_zarr(tmp_path):
    values = noise("int16")
    zarr.create_array(tmp_path, name="bold", data=values, chunks=RUN, zarr_format=2)
    np.testing.assert_array_equal(BoldReader(tmp_path).read(FIRST, 5), values[:1, 0, :5, 0])


@pytest.mark.parametrize("dtype", ["int8", "float16", "float32"])
def test_our_shards_are_zarrs(tmp_path, dtype):
    array = write_bold(tmp_path, np.full(SHAPE, missing(dtype), dtype), **AS_BUILT)
    buffer = ShardBuffer(9, SECONDS, VERTICES, np.dtype(dtype))
    buffer.values[:] = noise(dtype)[0, 0, :9, 0]
    buffer.write(tmp_path / "bold/c/1/0/0/1/0")
    run = np.full((SECONDS, VERTICES), missing(dtype), dtype)
    run[:9] = buffer.values
    np.testing.assert_array_equal(array[1, 0, :, 1], run)
    np.testing.assert_array_equal(BoldReader(tmp_path).read_run(1, 0, 1), run)


def test_uncompressed_shards_are_mapped_and_others_decoded(as_built, tmp_path):
    assert isinstance(BoldReader(as_built)._reader, MappedReader)
    write_bold(tmp_path / "other", noise("int8"), **COMPRESSED)
    assert isinstance(BoldReader(tmp_path / "other")._reader, ChunkReader)


def test_chunks_of_a_shard_in_another_order(as_built):
    shard = shard_of(as_built)
    raw = bytearray(shard.read_bytes())
    stride = VERTICES + 4
    raw[: 2 * stride] = raw[stride : 2 * stride] + raw[:stride]
    index = np.frombuffer(raw[-(SECONDS * 16 + 4) : -4], "<u8").reshape(-1, 2).copy()
    index[[0, 1]] = index[[1, 0]]
    trailer = index.tobytes()
    raw[-(SECONDS * 16 + 4) :] = trailer + google_crc32c.value(trailer).to_bytes(4, "little")
    shard.write_bytes(raw)
    np.testing.assert_array_equal(BoldReader(as_built).read_run(0, 0, 0), noise("int8")[0, 0, :, 0])


@pytest.mark.parametrize("layout", [AS_BUILT, COMPRESSED], ids=["mapped", "decoded"])
def test_damaged_index_is_noticed(tmp_path, layout):
    write_bold(tmp_path, noise("int8"), **layout)
    shard = shard_of(tmp_path)
    raw = bytearray(shard.read_bytes())
    raw[-10] ^= 1
    shard.write_bytes(raw)
    with pytest.raises(OSError, match="does not match its checksum"):
        BoldReader(tmp_path).read(FIRST, 1)


@pytest.mark.parametrize("layout", [AS_BUILT, COMPRESSED], ids=["mapped", "decoded"])
@pytest.mark.parametrize("left", [0, 100])
def test_shard_that_is_cut_short_is_noticed(tmp_path, layout, left):
    write_bold(tmp_path, noise("int8"), **layout)
    shard_of(tmp_path).write_bytes(shard_of(tmp_path).read_bytes()[:left])
    with pytest.raises(OSError, match="too short"):
        BoldReader(tmp_path).read(FIRST, 1)


def test_index_that_points_outside_of_its_shard_is_noticed(tmp_path):
    write_bold(tmp_path, noise("int8"), **AS_BUILT | {"index": {"index_codecs": [BytesCodec()]}})
    shard = shard_of(tmp_path)
    raw = bytearray(shard.read_bytes())
    raw[-16:-8] = (len(raw) - 10).to_bytes(8, "little")
    shard.write_bytes(raw)
    with pytest.raises(OSError, match="damaged"):
        BoldReader(tmp_path).read(FIRST, 1)


@pytest.mark.parametrize(
    "codecs", [[ZstdCodec()], [BloscCodec()], [GzipCodec()], [ZstdCodec(), Crc32cCodec()]]
)
def test_damaged_chunk_is_noticed(tmp_path, codecs):
    write_bold(tmp_path, noise("int8"), **AS_BUILT | {"codecs": codecs})
    shard = shard_of(tmp_path)
    raw = bytearray(shard.read_bytes())
    raw[:12] = b"not a chunk!"
    shard.write_bytes(raw)
    with pytest.raises(OSError, match="damaged"):
        BoldReader(tmp_path).read(FIRST, 1)


@pytest.mark.parametrize("layout", [AS_BUILT, COMPRESSED], ids=["mapped", "decoded"])
def test_windows_go_into_the_callers_buffer(tmp_path, layout):
    values = noise("int8")
    write_bold(tmp_path, values, **layout)
    reader = BoldReader(tmp_path)
    whole = np.zeros((2, 6, 2 * VERTICES), np.int8)
    strided = whole[:, ::2, :VERTICES]
    index = np.array([[0, 0, 2, 0], [1, 1, 4, 1]])
    assert reader.read(index, 3, strided) is strided
    np.testing.assert_array_equal(strided, expected(values, index, 3))
    strided[...] = 0
    assert not whole.any(), "nothing else was touched"
    run = np.empty((SECONDS, VERTICES), np.int8)
    assert np.shares_memory(reader.read_run(1, 1, 0, out=run), run)
    np.testing.assert_array_equal(run, values[1, 1, :, 0])


def test_a_buffer_of_another_kind_is_refused(as_built):
    for out in (np.empty((1, 3, VERTICES), np.int16), np.empty((1, 2, VERTICES), np.int8)):
        with pytest.raises(ValueError, match="out is"):
            BoldReader(as_built).read(FIRST, 3, out)


@pytest.mark.parametrize(
    "window",
    [(SUBJECTS, 0, 0, 0), (0, MOVIES, 0, 0), (0, 0, SECONDS - 2, 0), (0, 0, 0, HEMISPHERES), (0, 0, -1, 0)],
)
def test_windows_outside_of_the_array_are_refused(as_built, window):
    with pytest.raises(IndexError, match="outside"):
        BoldReader(as_built).read(np.array([[0, 0, 0, 0], window]), 3)


def test_no_windows_are_no_values(as_built):
    assert BoldReader(as_built).read(np.empty((0, 4), int), 3).shape == (0, 3, VERTICES)


@pytest.mark.parametrize("codec", [ZstdCodec(), BloscCodec(), GzipCodec()])
def test_a_chunk_that_is_too_short_is_noticed(tmp_path, codec):
    """What it would leave in the caller's memory are the values of another batch."""
    write_bold(tmp_path, noise("int8"), [codec], object_shape=(1, 1, 2, 1, VERTICES))
    short, long = tmp_path / "short", tmp_path / "bold/c/0/0/0/0/0"
    write_bold(short, noise("int8"), [codec], object_shape=(1, 1, 1, 1, VERTICES))
    long.write_bytes((short / "bold/c/0/0/0/0/0").read_bytes())
    with pytest.raises(OSError, match=f"has {VERTICES} bytes, not {2 * VERTICES}"):
        BoldReader(tmp_path).read(np.array([[0, 0, 0, 0]]), 1)


def test_what_ends_a_reading_waits_for_the_threads_that_copy(tmp_path, monkeypatch):
    write_bold(tmp_path, noise("int8"), object_shape=(1, 1, SECONDS, 1, VERTICES))
    reader, numbers, ended = BoldReader(tmp_path, threads=2), itertools.count(), []

    def one_fails(*arguments):
        if next(numbers) == 0:
            raise MemoryError
        time.sleep(0.3)
        ended.append(1)

    monkeypatch.setattr(mapped, "copy_rows", one_fails)
    index = np.array([[0, 0, second % 8, 0] for second in range(64)])
    with pytest.raises(MemoryError):
        reader.read(index, 3)
    assert ended


@pytest.mark.parametrize("layout", [AS_BUILT, COMPRESSED], ids=["mapped", "decoded"])
def test_several_threads_may_read_at_once(tmp_path, layout):
    values = noise("int8")
    write_bold(tmp_path, values, **layout)
    reader = BoldReader(tmp_path, threads=2)

    def read(seed):
        rng = np.random.default_rng(seed)
        index = rng.integers(0, (SUBJECTS, MOVIES, SECONDS - 2, HEMISPHERES), (100, 4))
        return np.array_equal(reader.read(index, 3), expected(values, index, 3))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(64)))


def test_maps_that_are_dropped_and_made_again(as_built, monkeypatch):
    monkeypatch.setattr("simdata.store.mapped.MAPS", 2)
    reader, rng = BoldReader(as_built), np.random.default_rng(0)
    index = rng.integers(0, (SUBJECTS, MOVIES, SECONDS - 2, HEMISPHERES), (200, 4))
    np.testing.assert_array_equal(reader.read(index, 3), expected(noise("int8"), index, 3))


def test_maps_hold_no_descriptors(as_built):
    reader = BoldReader(as_built)
    before = len(os.listdir("/proc/self/fd"))
    for subject, movie, hemisphere in np.ndindex(SUBJECTS, MOVIES, HEMISPHERES):
        reader.read_run(subject, movie, hemisphere)
    assert len(os.listdir("/proc/self/fd")) == before


def test_maps_go_with_their_reader(as_built):
    gc.collect()
    gc.disable()  # which would find them some time
    try:
        reader = BoldReader(as_built)
        reader.read(np.zeros((1, 4), int), 2)
        shards = str(as_built / "bold/c")
        assert shards in Path("/proc/self/maps").read_text()
        del reader
        assert shards not in Path("/proc/self/maps").read_text()
    finally:
        gc.enable()


def test_what_is_not_in_memory_is_read_ahead(as_built):
    reader = BoldReader(as_built)
    for path in (as_built / "bold/c").rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    np.testing.assert_array_equal(reader.read_run(0, 0, 0), noise("int8")[0, 0, :, 0])


def test_reader_states_scale_and_fill(as_built):
    reader = BoldReader(as_built)
    assert (reader.scale_factor, reader.fill, reader.dtype) == (0.0625, -128, np.int8)
