"""A build with runs that lack vertices: its cortex, warnings and records, and what `simdata info` says."""

import re

import numpy as np
import pytest
import xarray as xr
from cifti_files import noise, valid_vertices, write_dtseries
from store_files import VOLUMES, build, call, write_sources

LEFT = len(valid_vertices("32k", "L"))
SUBJECTS = ["1", "2", "3", "4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Subject 2 has a small field of view, 3 lacks 200 vertices side by side, 4 has NaN in ten."""
    folder = tmp_path_factory.mktemp("partial")
    write_sources(folder)
    for subject in SUBJECTS[1:]:
        data = noise("32k", VOLUMES["B"], seed=int(subject))
        if subject == "2":
            data[:, 2000:LEFT] = 0
        elif subject == "3":
            data[:, LEFT + 500 : LEFT + 700] = 3
        else:
            data[5, 100:110] = np.nan
        write_dtseries(folder / f"bold/{subject}/B.dtseries.nii", data)
    return folder


def test_a_build_names_partial_runs_and_does_not_let_them_narrow_the_cortex(folder):
    said = build(folder, "--no-checksum").output
    assert "6 converted" in said
    assert re.search(r"2/B has data in \d\.\d% of L and 100\.0% of R", said.replace("\n", " "))
    assert re.search(r"3/B alone takes \d+ vertices from the store's cortex", said.replace("\n", " "))
    store = xr.open_zarr(folder / "s.zarr", chunks=None)
    inside = ~np.isnan(store.bold_mean.values)
    runs = [inside[0, 0], inside[2, 1], inside[3, 1]]
    np.testing.assert_array_equal(store.cortex.values, np.logical_and.reduce(runs))
    lacks = store.cortex.values & ~inside[1, 1]
    assert lacks[0].sum() > 30_000
    assert not lacks[1].any()
    raw = xr.open_zarr(folder / "s.zarr", chunks=None, mask_and_scale=False).bold.values[1, 1, : VOLUMES["B"]]
    assert (raw.transpose(1, 2, 0)[lacks] == -128).all()
    assert np.isnan(store.bold.values[1, 1].transpose(1, 2, 0)[lacks]).all()
    shown = call("info", folder / "s.zarr").output
    assert "Runs with findings" in shown
    assert f"{LEFT - 2000:,} source vertices never vary" in " ".join(shown.split())
    assert re.search(r"4/B +│ 10 source vertices have NaN", shown)


def test_other_orders_give_the_same_cortex(folder, tmp_path):
    """One subject at a time, the partial one first."""
    build(folder, "--no-checksum")
    expected = xr.open_zarr(folder / "s.zarr").cortex.values
    for subject in ("2", "4", "1", "3"):
        places = ["--source", folder / "bold", "--movies", folder / "movies", "--out", tmp_path / "o.zarr"]
        call("build", folder / "mini.yaml", *places, "--no-checksum", "--subject", subject)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "o.zarr").cortex.values, expected)


def test_a_cortex_that_is_small_in_every_run_is_told(folder, tmp_path):
    places = ["--source", folder / "bold", "--movies", folder / "movies", "--out", tmp_path / "o.zarr"]
    alone = call("build", folder / "mini.yaml", *places, "--no-checksum", "--subject", "2").output
    assert re.search(r"warning: the store's cortex is small: \d,\d+ vertices of L", alone)
    assert "is small" not in build(folder, "--no-checksum").output


def test_nothing_is_shown_of_a_store_without_findings(built):
    assert "findings" not in call("info", built / "s.zarr").output
