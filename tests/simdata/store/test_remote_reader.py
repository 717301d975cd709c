from itertools import pairwise

import numpy as np
import pytest
from bold_files import HEMISPHERES, MOVIES, SECONDS, SUBJECTS, VERTICES, noise, write_bold
from hypothesis import given, settings
from hypothesis import strategies as st
from range_server import serve
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import ZipStore

from simdata.store import BoldReader
from simdata.store.objects import GAP, LARGEST, Range, coalesce

RUN, SECOND = (1, 1, SECONDS, 1, VERTICES), (1, 1, 1, 1, VERTICES)
LAYOUTS = {
    "as built": {"object_shape": RUN, "chunk_shape": SECOND, "codecs": [Crc32cCodec()]},
    "compressed": {"object_shape": RUN, "chunk_shape": SECOND, "codecs": [ZstdCodec()]},
    "index first": {"object_shape": RUN, "chunk_shape": SECOND, "index": {"index_location": "start"}},
    "unsharded": {"object_shape": (1, 1, 5, 1, VERTICES)},
}
EVERY_RUN = np.array([(s, m, 4, h) for s, m, h in np.ndindex(SUBJECTS, MOVIES, HEMISPHERES)])


def some_absent():
    values = noise("int8")
    values[1, 0] = -128
    return values


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_web_servers_give_what_disks_give(tmp_path, layout):
    values = some_absent()
    write_bold(tmp_path, values, **layout)
    with serve(tmp_path) as server:
        reader = BoldReader(server.url)
        found = reader.read(EVERY_RUN, 5)
        run = reader.read_run(0, 1, 1)
    np.testing.assert_array_equal(found, BoldReader(tmp_path).read(EVERY_RUN, 5))
    np.testing.assert_array_equal(
        found.reshape(SUBJECTS, MOVIES, HEMISPHERES, 5, -1), values[:, :, 4:9].swapaxes(2, 3)
    )
    np.testing.assert_array_equal(run, values[0, 1, :, 1])


def test_an_index_is_read_once_and_windows_are_one_request_a_shard(tmp_path):
    write_bold(tmp_path, some_absent(), **LAYOUTS["as built"])
    present = {f"/bold/c/{s}/{m}/0/{h}/0" for s, m, _, h in EVERY_RUN.tolist() if (s, m) != (1, 0)}
    with serve(tmp_path) as server:
        reader = BoldReader(server.url)
        reader.read(EVERY_RUN, 3)
        of_indexes = [path for path, (_, stop) in server.requests if stop > SECONDS * (VERTICES + 4)]
        assert sorted(of_indexes) == sorted(present)
        server.requests.clear()
        overlapping = np.concatenate([EVERY_RUN + np.array([0, 0, later, 0]) for later in (0, 1, 4)])
        reader.read(overlapping, 3)
    stride = VERTICES + 4
    assert sorted(server.requests) == sorted((path, (4 * stride, 11 * stride)) for path in present)
    assert server.most > 1, "requests overlap in time"


def test_archives_are_stores_too(tmp_path):
    values = some_absent()
    with ZipStore(tmp_path / "store.zip", mode="w") as store:
        write_bold(store, values, **LAYOUTS["compressed"])
    with ZipStore(tmp_path / "store.zip", mode="r") as store:
        np.testing.assert_array_equal(BoldReader(store).read_run(0, 1, 0), values[0, 1, :, 0])


def test_damage_on_the_way_is_noticed(tmp_path):
    write_bold(tmp_path, noise("int8"), **LAYOUTS["as built"])
    shard = tmp_path / "bold/c/0/0/0/0/0"
    raw = bytearray(shard.read_bytes())
    raw[VERTICES // 2] ^= 1
    shard.write_bytes(raw)
    with serve(tmp_path) as server, pytest.raises(OSError, match="does not match its checksum"):
        BoldReader(server.url).read(np.array([[0, 0, 0, 0]]), 1)


@given(
    st.lists(
        st.builds(Range, st.sampled_from("ab"), st.integers(0, 8 * LARGEST), st.integers(1, 2 * GAP)),
        max_size=30,
    )
)
@settings(deadline=None)
def test_joined_requests_cover_every_range_once(ranges):
    requests = coalesce(ranges)
    assert sorted(member for _, members in requests for member in members) == list(range(len(ranges)))
    for request, members in requests:
        assert request.length <= LARGEST
        for member in members:
            wanted = ranges[member]
            assert request.key == wanted.key
            assert request.offset <= wanted.offset
            assert wanted.offset + wanted.length <= request.offset + request.length
    for (one, _), (other, _) in pairwise(requests):
        apart = one.key != other.key or other.offset - (one.offset + one.length) >= GAP
        assert apart or other.offset + other.length - one.offset > LARGEST
