"""Stores in other layouts: the same to xarray, and to everything of ours."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
import zarr
from store_files import build, call, contents

import simdata
from simdata.common.errors import UserError
from simdata.rechunking import rechunk
from simdata.store import BoldReader, open_store
from simdata.store.layout import read_layout
from simdata.store.named_layouts import parse_layout

LAYOUTS = [
    "seconds",
    "blocks",
    "blocks,seconds=7",
    "runs",
    "compressed",
    "compressed,codec=blosc,seconds=4,level=1",
    "compressed,codec=gzip",
]


def rewritten(store, out, layout):
    return call("rechunk", store, out, "--layout", layout)


def decoded(store):
    with xr.open_zarr(store, chunks=None) as dataset:
        return dataset.load()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_xarray_sees_the_same_store(built, tmp_path, layout):
    result = rewritten(built / "s.zarr", tmp_path / "out.zarr", layout)
    before, after = decoded(built / "s.zarr"), decoded(tmp_path / "out.zarr")
    del after.attrs["history"], after.simdata_metadata.attrs["layout"]
    xr.testing.assert_identical(after, before)
    assert "of what it was" in result.output
    assert os.listdir(tmp_path) == ["out.zarr"]
    assert os.listdir(built / "s.zarr").count(".build") == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_our_reader_knows_every_layout(built, tmp_path, layout):
    rewritten(built / "s.zarr", tmp_path / "out.zarr", layout)
    named = parse_layout(layout)
    array = zarr.open_array(tmp_path / "out.zarr", path="bold", mode="r")
    found = read_layout(array)
    assert found.seconds == (named.seconds or array.shape[2])
    assert found.codecs == named.codecs
    assert found.is_as_built == (layout == "seconds")
    for movie in range(2):  # the second run is absent
        for hemisphere in range(2):
            run = BoldReader(tmp_path / "out.zarr").read_run(0, movie, hemisphere)
            np.testing.assert_array_equal(run, BoldReader(built / "s.zarr").read_run(0, movie, hemisphere))


def test_there_and_back_again_is_byte_for_byte_the_same(built, tmp_path):
    rewritten(built / "s.zarr", tmp_path / "blocks.zarr", "blocks")
    rewritten(tmp_path / "blocks.zarr", tmp_path / "back.zarr", "seconds")
    before, after = contents(built / "s.zarr"), contents(tmp_path / "back.zarr")
    attributes = json.loads(after["zarr.json"])["attributes"]
    assert [line.split(": ")[1] for line in attributes["history"].splitlines()] == [
        "rechunk --layout blocks",
        "rechunk --layout seconds",
    ]
    assert simdata.open(tmp_path / "back.zarr").simdata.metadata.layout == {"name": "seconds", "seconds": 1}
    # xarray writes bold's with other spaces.
    metadata = ("zarr.json", "simdata_metadata/zarr.json", "bold/zarr.json")
    assert {k: v for k, v in after.items() if k not in metadata} == {
        k: v for k, v in before.items() if k not in metadata
    }
    assert json.loads(after["bold/zarr.json"]) == json.loads(before["bold/zarr.json"])


def test_a_build_refuses_another_layout_and_goes_on_with_its_own(own):
    rewritten(own / "s.zarr", own / "runs.zarr", "runs")
    rewritten(own / "s.zarr", own / "seconds.zarr", "seconds")
    shutil.rmtree(own / "s.zarr")
    (own / "runs.zarr").rename(own / "s.zarr")
    before = contents(own / "s.zarr")
    with pytest.raises(UserError, match="laid out anew, by `simdata rechunk` or xarray"):
        build(own)
    assert contents(own / "s.zarr") == before
    shutil.rmtree(own / "s.zarr")
    (own / "seconds.zarr").rename(own / "s.zarr")
    assert "0 converted" in build(own).output


KILLED = """
import os, signal, simdata.rechunking as module
from simdata.cli import main

def write_first_and_die(path, chunks, write=module.write_shard, calls=[]):
    calls.append(path)
    write(path, chunks[: len(chunks) // len(calls)])
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

module.write_shard = write_first_and_die
main()
"""


def test_a_killed_call_leaves_nothing_and_is_continued(built, tmp_path):
    arguments = ["rechunk", str(built / "s.zarr"), str(tmp_path / "out.zarr"), "--layout", "compressed"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], stderr=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == [".out.zarr.rechunking"]
    done = (tmp_path / ".out.zarr.rechunking/store/bold/c/0/0/0/0/0").stat().st_mtime_ns
    call(*arguments)
    assert (tmp_path / "out.zarr/bold/c/0/0/0/0/0").stat().st_mtime_ns == done, "what is done is kept"
    np.testing.assert_array_equal(decoded(tmp_path / "out.zarr").bold, decoded(built / "s.zarr").bold)
    assert os.listdir(tmp_path) == ["out.zarr"]
    assert not list((tmp_path / "out.zarr").rglob("*.partial"))


def test_what_was_begun_with_another_layout_is_thrown_away(built, tmp_path):
    left = tmp_path / ".out.zarr.rechunking"
    (left / "store/bold/c/0/0/0/0").mkdir(parents=True)
    (left / "store/bold/c/0/0/0/0/0").write_bytes(b"of another layout")
    (left / "wanted.json").write_text("{}")
    rewritten(built / "s.zarr", tmp_path / "out.zarr", "blocks")
    np.testing.assert_array_equal(decoded(tmp_path / "out.zarr").bold, decoded(built / "s.zarr").bold)


def test_a_damaged_chunk_is_not_carried_over(own, tmp_path):
    shard = own / "s.zarr/bold/c/0/0/0/1/0"
    raw = bytearray(shard.read_bytes())
    raw[1000] ^= 1
    shard.write_bytes(raw)
    with pytest.raises(OSError, match="does not match its checksum"):
        rewritten(own / "s.zarr", tmp_path / "out.zarr", "blocks")
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ("tiles", "no layout 'tiles'; choose one of seconds, blocks, runs, compressed"),
        ("blocks,10", "'10' is not key=value"),
        ("blocks,seconds=5,seconds=9", "seconds is given 2 times"),
        ("blocks,seconds=0", "seconds: Input should be greater than or equal to 1"),
        ("blocks,seconds=99999999999", "seconds: Input should be less than or equal to 86400"),
        ("runs,name=seconds", "name is given 2 times"),
        ("blocks,codec=zstd", "codec: Input should be None"),
        ("compressed,codec=jpeg", "codec: Input should be 'zstd', 'blosc' or 'gzip'"),
        ("runs,size=3", "size: unknown key"),
    ],
)
def test_layouts_that_are_not_are_said(built, tmp_path, layout, said):
    with pytest.raises(UserError, match=said):
        rewritten(built / "s.zarr", tmp_path / "out.zarr", layout)
    assert os.listdir(tmp_path) == []


def test_nothing_is_written_over(built, own, tmp_path):
    before = contents(own / "s.zarr")
    with pytest.raises(UserError, match="exists already"):
        rewritten(built / "s.zarr", own / "s.zarr", "runs")
    assert contents(own / "s.zarr") == before


def test_a_store_that_is_being_built_is_left_alone(own, tmp_path):
    from simdata.store.lock import exclusive

    with exclusive(own / "s.zarr"), pytest.raises(UserError, match="another build is writing"):
        rewritten(own / "s.zarr", tmp_path / "out.zarr", "runs")


def test_progress_counts_runs(built, tmp_path):
    told = []

    class Told:
        def start(self, *what):
            told.append(what)

        def advance(self, what):
            told.append(what)

    sizes = rechunk(built / "s.zarr", tmp_path / "out.zarr", layout="compressed", progress=Told())
    assert told == [("runs", 1, 0), "runs"]
    assert 0 < sizes[1] < sizes[0]
    assert open_store(tmp_path / "out.zarr").sizes["subject"] == 1


def test_places_that_cannot_be_written_or_lie_in_the_store_are_named(own):
    before = contents(own / "s.zarr")
    (own / "file").write_text("")
    (own / "nowhere").symlink_to("none.zarr")
    (own / "link").symlink_to("s.zarr")
    for out, said in (
        ("s.zarr/new.zarr", "is within .*s.zarr, the store itself"),
        ("link/deep/new.zarr", "is within .*s.zarr, the store itself"),
        ("file/new.zarr", "cannot be written"),
        ("nowhere", "exists already"),
    ):
        with pytest.raises(UserError, match=said):
            rewritten(own / "s.zarr", own / out, "runs")
    assert contents(own / "s.zarr") == before
