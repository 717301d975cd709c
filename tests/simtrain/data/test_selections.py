"""What xarray makes of a store, a selection or a copy with a variable more, is trained on and tested."""

import json
import warnings

import pytest
import xarray as xr
from command_line import call, sets

import simdata
from simdata.common.errors import UserError
from simtrain.data.dataset import open_dataset

TINY = ["model.ico=1", "model.dim=16", "model.depth=1", "model.dim_head=16", "train.steps=3"]
TINY += ["train.batch_size=8", "train.validation_samples=8", "train.validate_every=3"]
POOLS = ("--experiment", "new-subjects", "--pool", "8", "--clips", "20", "--draws", "2")


@pytest.fixture
def selected(store, tmp_path):
    def write(name="new.zarr", **selection):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            simdata.open(store).sel(selection).to_zarr(tmp_path / name)
        return tmp_path / name

    return write


def test_a_copy_with_a_variable_more_gives_the_same_figures(store, selected, tmp_path):
    copy = selected()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        xr.Dataset({"age": ("subject", [float(age) for age in range(6)])}).to_zarr(copy, mode="a")
    call("fit", store, "--config", "demo", *sets(TINY), "--out", tmp_path / "run")
    figures = []
    for place in (store, copy):
        call("retrieve", tmp_path / "run", place, *POOLS)
        figures.append(json.loads((tmp_path / "run/retrieval.json").read_text()))
    assert figures[0] == figures[1]


def test_a_part_is_trained_and_tested_on(selected, tmp_path):
    part = selected(subject=["s5", "s4", "s2", "s1"], movie=["M1"], second=slice(0, 57))
    call("fit", part, "--config", "demo", *sets(TINY), "--out", tmp_path / "run")
    call("retrieve", tmp_path / "run", part, "--experiment", "new-subjects", "--pool", "4")
    call("predict", tmp_path / "run", part, "--out", tmp_path / "predicted.zarr")
    predicted = xr.open_zarr(tmp_path / "predicted.zarr")
    assert predicted.subject.values.tolist() == ["s5", "s4", "s2", "s1"]
    assert (predicted.movie.values.tolist(), predicted.second.values[-1]) == (["M1"], 57)
    predicted.to_netcdf(tmp_path / "predicted.nc")
    xr.testing.assert_equal(xr.open_dataset(tmp_path / "predicted.nc"), predicted.load())


def test_other_parts_are_refused(selected):
    with pytest.raises(UserError, match=r"its second axis is 5, 6, 7, \.\.\.; take them from 0 on"):
        open_dataset(selected("late.zarr", second=slice(5, None)))
    with pytest.raises(UserError, match="its hemisphere axis is R; keep both, L first"):
        open_dataset(selected("right.zarr", hemisphere=["R"]))
