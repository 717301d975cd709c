"""The JSON beside a BIDS derivative."""

import contextlib
import json

import pytest
from cifti_files import noise, write_dtseries
from hypothesis import given, settings
from hypothesis import strategies as st

from simdata.bold.formats import open_run
from simdata.common.errors import UserError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
NAME = "sub-1_task-film_space-fsLR_den-91k_bold"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("func")
    write_dtseries(folder / f"{NAME}.dtseries.nii", noise("32k", 3), step=2.0, start=0.25)
    return folder


def start_with(folder, said):
    sidecar = folder / f"{NAME}.json"
    sidecar.write_text(said if isinstance(said, str) else json.dumps(said))
    try:
        return open_run(folder / f"{NAME}.dtseries.nii").start
    finally:
        sidecar.unlink()


@pytest.mark.parametrize(
    ("said", "start"),
    [
        ({}, 0.25),  # the CIFTI header's
        ({"RepetitionTime": 2.0, "SliceTimingCorrected": False}, 0.25),
        ({"SliceTimingCorrected": True}, 0.25),
        ({"StartTime": 0.9625, "SliceTimingCorrected": True}, -0.0375),  # volume k at .9625 + 2 k
        ({"RepetitionTime": 2.0, "StartTime": 1.0, "SliceTimingCorrected": True}, 0.0),
        ({"RepetitionTime": 2.0, "StartTime": 0.5}, 0.5),
        ({"StartTime": None}, 0.25),
    ],
)
def test_what_it_says_of_the_start_goes_before_the_header(folder, said, start):
    assert start_with(folder, said) == pytest.approx(start)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"RepetitionTime": 1.49}, r"RepetitionTime of 1\.49 s, and the file beside it has a TR of 2 s"),
        ({"StartTime": "soon"}, "StartTime 'soon', which is no number of seconds"),
        ({"StartTime": True}, "StartTime True"),
        ({"StartTime": 1e9}, "StartTime 1000000000.0"),
        ('{"StartTime": NaN}', "StartTime nan"),
        ({"RepetitionTime": [2]}, "RepetitionTime"),
        ("[1]", "cannot be read as JSON"),
        ("", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_what_makes_no_sense_is_named(folder, said, message):
    with pytest.raises(UserError, match=message) as raised:
        start_with(folder, said)
    assert f"{NAME}.json" in str(raised.value)


@settings(deadline=None)
@given(said=st.dictionaries(st.sampled_from(["StartTime", "RepetitionTime", "SliceTimingCorrected"]), JSON))
def test_anything_is_taken_or_named(folder, said):
    with contextlib.suppress(UserError):
        assert isinstance(start_with(folder, said), float)


def test_a_name_that_is_not_of_bids_has_none(tmp_path):
    path = write_dtseries(tmp_path / "film.dtseries.nii", noise("32k", 3))
    (tmp_path / "film.json").write_text("broken")
    assert open_run(path).start == 0
