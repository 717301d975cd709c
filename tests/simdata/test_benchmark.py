"""`simdata bench`: figures of a real store, and the advice that follows from given ones."""

import json
import shutil

import numpy as np
import pytest
import zarr
from store_files import call, contents

from simdata.benchmark import LAYOUTS, Findings
from simdata.common.errors import UserError


@pytest.mark.slow
def test_every_way_and_layout_is_measured_and_the_store_left_alone(built, tmp_path):
    store, scratch = built / "s.zarr", tmp_path / "scratch"
    scratch.mkdir()
    before = contents(store)
    file = tmp_path / "figures.json"
    result = call("bench", store, "--seconds", "0.1", "--scratch", scratch, "--json", file)
    assert result.exit_code == 0, result.output
    assert contents(store) == before
    assert not any(scratch.iterdir())
    found = json.loads(file.read_text())
    assert list(found["layouts"]) == ["as it is", *LAYOUTS]
    rates = [*found["feeds"].values(), *(own[kind] for own in found["layouts"].values() for kind in own)]
    assert np.isfinite(rates).all()
    assert min(rates) > 0
    assert found["layouts"]["seconds"]["size"] == 1
    assert 0.5 < found["layouts"]["compressed"]["size"] < 1
    shape = zarr.open_array(store, path="bold", mode="r").shape
    assert found["bold_bytes"] == np.prod(shape[2:])  # one run of int8
    for name in (*LAYOUTS, "memory, 1 thread"):
        assert name in result.output


def test_a_store_without_runs_has_nothing_to_measure(own):
    zarr.open_group(own / "s.zarr", mode="r+")["run_status"][:] = 0
    with pytest.raises(UserError, match="no complete runs"):
        call("bench", own / "s.zarr")


def test_a_layout_that_only_zarr_reads_is_no_use_to_measure(own):
    path = own / "s.zarr"
    values = zarr.open_array(path, path="bold", mode="r")
    shape, dtype = values.shape, values.dtype
    shutil.rmtree(path / "bold")
    zarr.create_array(path, name="bold", shape=shape, dtype=dtype, chunks=(1, 1, 5, 2, 1000), fill_value=-128)
    with pytest.raises(UserError, match="only zarr can read its layout"):
        call("bench", path)


def findings(own, other, free):
    layouts = {
        "as it is": {"warm": own, "cold": 1, "size": 1},
        "runs": {"warm": other, "cold": 1, "size": 1.5},
    }
    return Findings({}, layouts, bold_bytes=2_000_000_000, free_bytes=free, cores=2)


def test_advice_follows_from_the_figures():
    better, fits = findings(1_000, 4_000, 4_000_000_000).advice()
    assert better.startswith("simdata rechunk STORE OUT --layout runs would be 4.0 times as quick")
    assert "1.50 of the space" in better
    assert fits == "BOLD (2.0 GB) fits in this machine's free memory (4.0 GB)"
    best, tight = findings(4_000, 5_000, 2_100_000_000).advice()
    assert best == "no layout that was tried is clearly quicker than the store's own"
    assert "does not fit" in tight
