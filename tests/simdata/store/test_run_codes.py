"""What rows a store says it has: `run` and `reach` as built, in stores of format 2.0, and damaged."""

import shutil

import numpy as np
import pytest
import xarray as xr
import zarr
from store_files import VOLUMES, build, contents, opened, write_sources

import simdata
from simdata.common.errors import UserError
from simdata.store.damage import check_runs
from simdata.store.metadata import VARIABLE
from simdata.store.run_codes import films, reaches, run_codes


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("codes")
    write_sources(folder)
    assert build(folder).exit_code == 0
    return folder


@pytest.fixture
def folder(built, tmp_path):
    shutil.copytree(built, tmp_path / "copy")
    return tmp_path / "copy"


def make_old(folder):
    """As a store of format 2.0 was."""
    store = folder / "s.zarr"
    group = zarr.open_group(store, mode="r+", use_consolidated=False)
    for name in ("run", "reach", "film"):
        shutil.rmtree(store / name)
    for _, array in group.arrays():
        if "coordinates" in array.attrs:
            labels = array.attrs["coordinates"].split()
            array.attrs["coordinates"] = " ".join(label for label in labels if label not in ("reach", "film"))
    group[VARIABLE].attrs["format_version"] = "2.0"
    zarr.consolidate_metadata(store)


def test_a_scan_a_movie_is_one_run_to_its_end(built):
    plain = opened(built)
    assert (plain.run.dtype, plain.run.dims) == (np.int16, ("subject", "movie", "second"))
    assert plain.run.sel(subject="1", movie="A").values.tolist() == [1] * VOLUMES["A"]
    assert not plain.run.sel(movie="B").any()
    assert plain.coords["reach"].values.tolist() == [0, 0]
    assert plain.coords["film"].values.tolist() == ["A", "B"]
    assert films(plain).tolist() == films(plain.drop_vars("film")).tolist() == [0, 1]
    assert films(plain.assign_coords(film=("movie", ["X", "X"]))).tolist() == [0, 0]
    np.testing.assert_array_equal(run_codes(plain, built), plain.run)


def test_a_store_of_format_2_0_says_the_same(built, folder):
    new = opened(built)
    make_old(folder)
    old = simdata.open(folder / "s.zarr")
    assert old.simdata.metadata.format_version == "2.0"
    np.testing.assert_array_equal(run_codes(old, folder), run_codes(new, folder))
    assert reaches(old, folder).tolist() == [0, 0]


def test_a_build_that_goes_on_brings_a_store_of_format_2_0_up_to_date(built, folder):
    before = contents(built / "s.zarr")
    make_old(folder)
    result = build(folder)
    assert result.exit_code == 0, result.output
    assert "format 2.1" in " ".join(result.output.split())
    xr.testing.assert_identical(opened(folder).load(), opened(built).load())
    after = contents(folder / "s.zarr")
    chunks = [name for name in before if not name.endswith("zarr.json")]
    assert {name: after.get(name) for name in chunks} == {name: before[name] for name in chunks}
    again = build(folder)
    assert "format 2.1" not in again.output


def test_what_is_not_a_table_of_runs_is_one_message(built):
    plain = opened(built)
    with pytest.raises(UserError, match="here: has lost its variable 'run'"):
        run_codes(plain.drop_vars("run"), "here")
    with pytest.raises(UserError, match="here: its run is float64 by"):
        run_codes(plain.assign(run=plain.run.astype(float)), "here")
    with pytest.raises(UserError, match="here: its reach is int64 by"):
        reaches(plain.assign_coords(reach=("second", plain.second.values)), "here")
    with pytest.raises(UserError, match="here: its reach has -1"):
        reaches(plain.assign_coords(reach=("movie", [0, -1])), "here")


def test_a_shard_that_is_shorter_than_its_last_row_is_lost(folder):
    shard = folder / "s.zarr/bold/c/0/0/0/1/0"
    with shard.open("r+b") as file:
        file.truncate(shard.stat().st_size - 40_000)
    with pytest.raises(UserError, match="is gone or cut short"):
        check_runs(folder / "s.zarr")
