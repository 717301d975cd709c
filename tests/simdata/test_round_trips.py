"""A store through plain xarray and back: copies, selections, netCDF, variables of one's own."""

import json
import shutil
import warnings

import numpy as np
import pytest
import xarray as xr
import zarr
from cifti_files import noise, write_dtseries
from store_files import VOLUMES, build, call, contents

import simdata
from simdata.errors import UserError
from simdata.store import BoldReader
from simdata.store.layout import read_layout
from simdata.store.metadata import VARIABLE

SELECTIONS = {
    "whole": {},
    "one subject": {"subject": ["2"]},
    "subjects in another order": {"subject": ["2", "1"]},
    "one movie": {"movie": ["B"]},
    "a subject and a movie": {"subject": ["2"], "movie": ["B"]},
    "the first seconds": {"second": slice(0, 14)},
    "seconds from the middle": {"second": slice(5, 67)},
    "one hemisphere": {"hemisphere": ["R"]},
}
ENGINES = ("h5netcdf", "netcdf4")


@pytest.fixture(scope="module")
def pair(built, tmp_path_factory):
    """The built store with a second subject, who has the other run; not to be changed."""
    folder = shutil.copytree(built, tmp_path_factory.mktemp("pair") / "pair")
    write_dtseries(folder / "bold/2/B.dtseries.nii", noise("32k", VOLUMES["B"]), "32k")
    build(folder)
    return folder


@pytest.fixture
def mine(pair, tmp_path):
    """A copy to work on."""
    return shutil.copytree(pair, tmp_path / "mine")


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        yield


def plain(store):
    return xr.open_zarr(store, chunks={"second": -1})


def equal(left, right):
    xr.testing.assert_identical(left.load().drop_attrs(), right.load().drop_attrs())
    for name, variable in left.variables.items():
        np.testing.assert_equal(dict(variable.attrs), dict(right[name].attrs))


@pytest.mark.parametrize("opened", [plain, simdata.open])
@pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS)
def test_a_selection_is_written_as_it_is_stored(pair, tmp_path, opened, selection):
    chosen = opened(pair / "s.zarr").sel(selection)
    chosen.to_zarr(tmp_path / "new.zarr")
    equal(opened(tmp_path / "new.zarr"), opened(pair / "s.zarr").sel(selection))
    old, new = (zarr.open_group(path, mode="r") for path in (pair / "s.zarr", tmp_path / "new.zarr"))
    for name, array in new.arrays():
        assert (array.dtype, array.chunks) == (old[name].dtype, old[name].chunks)
    runs = np.argwhere(xr.open_zarr(tmp_path / "new.zarr").run_status.values).tolist()
    shards = [
        path.relative_to(tmp_path / "new.zarr/bold/c").parts
        for path in (tmp_path / "new.zarr/bold/c").rglob("0")
    ]
    assert {(int(p[0]), int(p[1])) for p in shards if len(p) == 5} == {tuple(run) for run in runs}


def test_decoded_values_are_float32(pair):
    opened = simdata.open(pair / "s.zarr")
    assert {name: array.dtype for name, array in opened.data_vars.items() if array.dtype.kind == "f"} == {
        **dict.fromkeys(
            ["bold", "bold_mean", "bold_std", "video_motion_energy", "audio_logmel", "sphere"], np.float32
        ),
        "film_duration": np.float64,
    }
    np.testing.assert_array_equal(opened.bold, plain(pair / "s.zarr").bold)


@pytest.mark.parametrize(
    "selection", [{}, {"subject": ["2"], "second": slice(3, 9)}, {"subject": "1", "movie": "A"}]
)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("opened", [xr.open_zarr, simdata.open])
def test_netcdf(pair, tmp_path, opened, engine, selection):
    chosen = opened(pair / "s.zarr").sel(selection)
    chosen.to_netcdf(tmp_path / "new.nc", engine=engine)
    with xr.open_dataset(tmp_path / "new.nc", engine=engine) as again:
        xr.testing.assert_equal(again.load(), chosen.load())
        assert again.bold.encoding["dtype"] == np.int8
        assert again.simdata.metadata.recipe == simdata.open(pair / "s.zarr").simdata.metadata.recipe
        assert again.simdata.flag_names("segment") == chosen.simdata.flag_names("segment")


def test_no_attribute_has_structure(pair):
    """Nothing but what every format holds: text, numbers, and lists of numbers."""
    opened = xr.open_zarr(pair / "s.zarr")
    for attributes in [opened.attrs, *(variable.attrs for variable in opened.variables.values())]:
        for value in attributes.values():
            assert isinstance(value, str | int | float) or all(isinstance(item, int) for item in value)
            assert not isinstance(value, bool)
