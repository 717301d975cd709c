import json

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec

from simdata.store import BoldReader
from simdata.store.shards import ShardBuffer, map_shard

SUBJECTS, MOVIES, SECONDS, VERTICES = 2, 2, 12, 30


def make_bold(folder, dtype="int8", checksum=True, **layout):
    """An empty ``bold`` array as the store has it, or with another layout."""
    codecs = [BytesCodec(endian="little"), *([Crc32cCodec()] if checksum else [])]
    sharding = ShardingCodec(chunk_shape=(1, 1, 1, 1, VERTICES), codecs=codecs)
    settings = {"chunks": (1, 1, SECONDS, 1, VERTICES), "serializer": sharding, "compressors": None, **layout}
    return zarr.create_array(
        folder / "bold",
        shape=(SUBJECTS, MOVIES, SECONDS, 2, VERTICES),
        dtype=dtype,
        fill_value=-128 if dtype == "int8" else np.nan,
        filters=None,
        attributes={"scale_factor": 0.0625},
        config={"write_empty_chunks": True},
        **settings,
    )


def values(dtype, seconds=SECONDS, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((seconds, VERTICES)) * 30).astype(dtype)


@pytest.mark.parametrize("dtype", ["int8", "float16", "float32"])
def test_our_shards_are_zarrs(tmp_path, dtype):
    array = make_bold(tmp_path, dtype)
    data = values(dtype, seconds=9)
    buffer = ShardBuffer(9, SECONDS, VERTICES, np.dtype(dtype))
    buffer.values[:] = data
    buffer.write(tmp_path / "bold/c/1/0/0/1/0")
    np.testing.assert_array_equal(array[1, 0, :9, 1], data)
    missing = array[1, 0, 9:, 1]
    assert np.isnan(missing).all() if dtype != "int8" else (missing == -128).all()


@pytest.mark.parametrize("dtype", ["int8", "float16", "float32"])
@pytest.mark.parametrize("checksum", [True, False])
def test_zarrs_shards_are_mapped(tmp_path, dtype, checksum):
    array = make_bold(tmp_path, dtype, checksum)
    data = values(dtype)
    array[0, 1, :, 0] = data
    mapped = map_shard(tmp_path / "bold/c/0/1/0/0/0", SECONDS, VERTICES, np.dtype(dtype), checksum)
    np.testing.assert_array_equal(mapped, data)


LAYOUTS = {
    "as the store": {},
    "no checksum": {"checksum": False},
    "compressed": {
        "serializer": ShardingCodec(
            chunk_shape=(1, 1, 1, 1, VERTICES), codecs=[BytesCodec(endian="little"), ZstdCodec()]
        )
    },
    "unsharded": {"serializer": BytesCodec(endian="little"), "chunks": (1, 1, 4, 1, VERTICES)},
    "short shards": {"chunks": (1, 1, 6, 1, VERTICES)},
    "longer chunks": {
        "serializer": ShardingCodec(
            chunk_shape=(1, 1, 3, 1, VERTICES), codecs=[BytesCodec(endian="little"), Crc32cCodec()]
        )
    },
}


@pytest.fixture(scope="module", params=LAYOUTS)
def any_layout(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    array = make_bold(folder, **LAYOUTS[request.param])
    for run in range(3):  # the fourth run stays absent
        for hemisphere in range(2):
            array[run // 2, run % 2, :, hemisphere] = values("int8", seed=2 * run + hemisphere)
    return folder, array


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_any_layout_reads_as_zarr_reads_it(any_layout, data):
    folder, array = any_layout
    frames = data.draw(st.integers(1, SECONDS))
    window = st.tuples(
        st.integers(0, SUBJECTS - 1),
        st.integers(0, MOVIES - 1),
        st.integers(0, SECONDS - frames),
        st.integers(0, 1),
    )
    index = np.array(data.draw(st.lists(window, min_size=1, max_size=6)))
    found = BoldReader(folder).read(index, frames)
    assert found.dtype == array.dtype
    for row, (subject, movie, second, hemisphere) in zip(found, index, strict=True):
        np.testing.assert_array_equal(row, array[subject, movie, second : second + frames, hemisphere])


def test_shards_in_another_order_fall_back(tmp_path):
    array = make_bold(tmp_path)
    array[0, 0, :, 0] = values("int8")
    shard = tmp_path / "bold/c/0/0/0/0/0"
    raw = bytearray(shard.read_bytes())
    stride = VERTICES + 4
    raw[: 2 * stride] = raw[stride : 2 * stride] + raw[:stride]
    index = np.frombuffer(raw[-(SECONDS * 16 + 4) : -4], "<u8").reshape(-1, 2).copy()
    index[[0, 1]] = index[[1, 0]]
    trailer = index.tobytes()
    raw[-(SECONDS * 16 + 4) :] = trailer + google_crc32c.value(trailer).to_bytes(4, "little")
    shard.write_bytes(raw)
    assert map_shard(shard, SECONDS, VERTICES, np.dtype("int8"), True) is None
    window = np.array([[0, 0, 0, 0]])
    np.testing.assert_array_equal(BoldReader(tmp_path).read(window, SECONDS)[0], values("int8"))


def test_damaged_index_is_noticed(tmp_path):
    array = make_bold(tmp_path)
    array[0, 0, :, 0] = values("int8")
    shard = tmp_path / "bold/c/0/0/0/0/0"
    raw = bytearray(shard.read_bytes())
    raw[-10] ^= 1
    shard.write_bytes(raw)
    with pytest.raises(OSError, match="checksum"):
        BoldReader(tmp_path).read(np.array([[0, 0, 0, 0]]), 1)


def test_windows_go_into_the_callers_buffer(tmp_path):
    array = make_bold(tmp_path)
    array[0, 0, :, 0] = values("int8")
    out = np.empty((1, 3, VERTICES), np.int8)
    assert BoldReader(tmp_path).read(np.array([[0, 0, 2, 0]]), 3, out) is out
    np.testing.assert_array_equal(out[0], values("int8")[2:5])


def test_reader_states_scale_and_fill(tmp_path):
    make_bold(tmp_path)
    reader = BoldReader(tmp_path)
    assert (reader.scale_factor, reader.fill, reader.dtype) == (0.0625, -128, np.int8)
    assert json.loads((tmp_path / "bold/zarr.json").read_text())["fill_value"] == -128
