"""Runs of parcels, read as other readers read them; damaged ones are one message."""

import json
from contextlib import suppress

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from parcel_files import parcel_noise, write_hdf5, write_ptseries, write_table

from simdata.bold.formats import open_run
from simdata.common.errors import UserError
from simdata.common.hdf5 import arrays_in

VALUES = parcel_noise(30, 8)


def read(path, inside=""):
    run = open_run(path, inside=inside)
    ((side, values),) = run.cortices()
    assert side == "parcels"
    return run, values.T


def test_a_ptseries_is_as_nibabel_reads_it(tmp_path):
    path = write_ptseries(tmp_path / "a.ptseries.nii", VALUES, step=1.49, start=0.5)
    run, values = read(path)
    np.testing.assert_array_equal(values, nib.load(path).get_fdata())
    assert (run.tr, run.start, run.volumes) == (pytest.approx(1.49), 0.5, 30)
    assert run.parcels == ("L0", "L1", "L2", "L3", "R0", "R1", "R2", "R3")
    assert run.parcel_hemispheres == (*"LLLLRRRR",)


@pytest.mark.parametrize(("ending", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_a_table_is_as_pandas_reads_it(tmp_path, ending, delimiter):
    values = VALUES.copy()
    values[:, 3] = np.nan
    names = [f"7Networks_LH_Vis_{number}" for number in range(8)]
    path = write_table(tmp_path / f"sub-1_task-a_bold.{ending}", values, names, delimiter)
    (tmp_path / "sub-1_task-a_bold.json").write_text(json.dumps({"RepetitionTime": 1.49}))
    run, found = read(path)
    expected = pd.read_csv(path, sep=delimiter, dtype=np.float32)
    assert run.parcels == tuple(expected.columns)
    np.testing.assert_array_equal(found, expected.values)
    assert (run.tr, run.start) == (1.49, 0)


def test_a_column_that_numbers_rows_is_no_parcel(tmp_path):
    frame = pd.DataFrame(VALUES, columns=[f"a{number}" for number in range(8)])
    frame.to_csv(tmp_path / "sub-1_bold.csv")
    (tmp_path / "sub-1_bold.json").write_text(json.dumps({"RepetitionTime": 1}))
    run, found = read(tmp_path / "sub-1_bold.csv")
    assert run.parcels == tuple(frame.columns)
    np.testing.assert_allclose(found, VALUES, rtol=1e-6)


def test_an_array_of_an_hdf5_file_is_a_run(tmp_path):
    arrays = {"ses-001_task-s01e01a": VALUES, "ses-002_task-s01e02a": VALUES[:20] + 1}
    path = write_hdf5(tmp_path / "sub-01_bold.h5", arrays)
    (tmp_path / "sub-01_bold.json").write_text(json.dumps({"RepetitionTime": 1.49}))
    assert arrays_in(path) == sorted(arrays)
    for name, values in arrays.items():
        run, found = read(path, name)
        np.testing.assert_array_equal(found, values)
        assert run.parcels == tuple(map(str, range(1, 9)))
    with pytest.raises(
        UserError, match=r"has 2 arrays \(ses-001_task-s01e01a, .*\): say which in the pattern"
    ):
        open_run(path)
    with pytest.raises(UserError, match=r"has no array .* called ses-9"):
        open_run(path, inside="ses-9")


def test_mistakes_are_explained(tmp_path):
    def refused(path, words):
        with pytest.raises(UserError, match=words):
            list(open_run(path).cortices())

    names = list("abcdefgh")
    (tmp_path / "ragged_bold.csv").write_text("a,b\n1,2\n3\n")
    refused(tmp_path / "ragged_bold.csv", "line 3 has 1 values, and the first has 2 names")
    (tmp_path / "words_bold.csv").write_text("a,b\n1,x\n")
    refused(tmp_path / "words_bold.csv", "line 2 has what is no number")
    (tmp_path / "bare_bold.csv").write_text("1.5,2.5\n3.5,4.5\n")
    refused(tmp_path / "bare_bold.csv", "its first line has values, and not the names of its parcels")
    (tmp_path / "empty_bold.csv").touch()
    refused(tmp_path / "empty_bold.csv", "has no line with the names of its parcels")
    (tmp_path / "short_bold.csv").write_text("a,b\n")
    refused(tmp_path / "short_bold.csv", "has no volume")
    write_table(tmp_path / "twice_bold.tsv", VALUES, [*names[:7], "a"])
    (tmp_path / "twice_bold.json").write_text(json.dumps({"RepetitionTime": 1}))
    refused(tmp_path / "twice_bold.tsv", "a tuple of names, each once is needed")
    refused(write_ptseries(tmp_path / "hz.ptseries.nii", VALUES, unit="HERTZ"), "in hertz, not in seconds")
    (tmp_path / "broken.h5").write_bytes(b"no HDF5")
    refused(tmp_path / "broken.h5", "cannot read it")


@pytest.mark.parametrize("kind", ["ptseries.nii", "csv", "h5"])
def test_a_damaged_file_is_one_message(tmp_path, kind):
    path = tmp_path / f"sub-1_bold.{kind}"
    {
        "ptseries.nii": lambda: write_ptseries(path, VALUES),
        "csv": lambda: write_table(path, VALUES, list("abcdefgh"), ","),
        "h5": lambda: write_hdf5(path, {"a": VALUES}),
    }[kind]()
    (tmp_path / "sub-1_bold.json").write_text(json.dumps({"RepetitionTime": 1}))
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(40):
        bad = bytearray(whole[: rng.integers(1, len(whole))] if rng.random() < 0.5 else whole)
        for place in rng.integers(0, min(len(bad), 3000), 6):
            bad[place] = rng.integers(256)
        path.write_bytes(bad)
        with suppress(UserError):  # and nothing else
            list(open_run(path).cortices())
