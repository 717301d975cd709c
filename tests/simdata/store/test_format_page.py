"""docs/store-format.md: its reader reads, and its tables are what a build writes."""

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from store_files import build, opened, write_sources

PAGE = (Path(__file__).parents[3] / "docs/store-format.md").read_text()
TEXT = ("StringDType()", "object")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    write_sources(folder)
    assert build(folder).exit_code == 0
    return folder


def _tables():
    """Name -> (dtypes, dimensions), as the page's tables of variables and coordinates say."""
    of_vertices = PAGE.split("## Stores of parcels")[0].splitlines()
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in of_vertices]
    return {
        name: (row[1], row[2])
        for row in rows
        if len(row) in (4, 5) and row[0].startswith("`")
        for name in re.findall(r"`([^`]+)`", row[0])
        if re.match("int|float|uint|text|bool", row[1])
    }


def test_the_page_has_every_variable_as_a_build_writes_it(folder):
    said = _tables()
    for name, array in zarr.open_group(folder / "s.zarr", mode="r").arrays():
        axes = ("subject", "movie", "second", "hemisphere", "xyz")
        if name in axes:
            continue
        dtypes, dims = said.pop(name, None) or said[f"{name.split('_')[0]}_*"]
        dtype = "text" if str(array.dtype) in TEXT else str(array.dtype)
        assert dtype in re.split(", or |, | or ", dtypes), name
        found = ", ".join(array.metadata.dimension_names or ()) or "none"
        assert re.sub("[a-z_]+_feature", "`*_feature`", found) == dims, name
    assert not {name for name in said if "*" not in name}


def test_the_reader_of_the_page_reads_what_xarray_does(folder):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    space = {}
    exec(code, space)
    assert len(code.split("def cell")[1].splitlines()) <= 20
    plain = opened(folder)
    for hemisphere in "LR":
        rows, scans, z = space["cell"](str(folder / "s.zarr"), "1", "A", hemisphere)
        chosen = plain.sel(subject="1", movie="A", hemisphere=hemisphere)
        assert rows.tolist() == np.flatnonzero(chosen.run > 0).tolist()
        assert scans.tolist() == chosen.run.values[rows].tolist()
        np.testing.assert_array_equal(z, chosen.bold.values[rows].astype(np.float32))
    with pytest.raises(KeyError, match="1 has no B"):
        space["cell"](str(folder / "s.zarr"), "1", "B", "L")


def test_the_invariants_of_the_page_hold(folder):
    store = xr.open_zarr(folder / "s.zarr", chunks=None)
    complete = store.run_status == 1
    assert not store.run.where(~complete, 0).any()
    assert not store.run.where(store.second >= store.volumes, 0).any()
    assert ((store.run > 0).any("second") == complete).all()
    has_data = store.bold_mean.notnull()
    assert store.bold.notnull().where((store.run != 0) & has_data, True).all()
