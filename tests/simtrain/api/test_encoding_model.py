"""simtrain.encode: the maps that the command writes, as labelled arrays."""

import json

import nibabel
import numpy as np
import pytest
from command_line import call
from examples import must_run

import simtrain
from simdata.common.errors import UserError

QUICK = {"delays": (0, 1), "subjects": ["s5"], "device": "cpu"}


def test_it_gives_what_the_command_writes(store, tmp_path):
    words = ("--delays", "0:1", "--subject", "s5", "--device", "cpu", "--out", tmp_path / "told")
    shown = call("encode", store, *words)
    found = simtrain.encode(store, tmp_path / "out", **QUICK)
    told, ours = (nibabel.load(tmp_path / folder / "encoding.ico6.dscalar.nii") for folder in ("told", "out"))
    np.testing.assert_array_equal(told.get_fdata(), ours.get_fdata())
    assert list(told.header.get_axis(0).name) == ["mean", "s5"]
    inside = told.header.get_axis(1).name == "CIFTI_STRUCTURE_CORTEX_LEFT"
    left = told.header.get_axis(1).vertex[inside]
    np.testing.assert_allclose(found.mean.sel(hemisphere="L")[left], told.get_fdata()[0, inside], rtol=1e-5)
    written = json.loads((tmp_path / "told" / "encoding.ico6.json").read_text())
    assert written["features"] == ["video_shapes"]
    assert written["delays"] == [6, 7]
    assert f"max {written['r']['max']:.3f}" in shown
    assert found.maps.sizes == {"subject": 1, "hemisphere": 2, "vertex": 40962}


def test_nothing_is_written_unless_asked_for(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    simtrain.encode(store, **QUICK, modalities=["fmri", "audio"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"delays": (3, 1)}, "`delays` 3 to 1"),
        ({"subjects": "nobody"}, "no subject nobody"),
        ({"mesh": "164k"}, "mesh: '164k' is not one of"),
        ({"out": "s3://here"}, "out: 's3://here' is a URL"),
    ],
)
def test_what_is_wrong_is_named(store, wrong, message):
    with pytest.raises(UserError, match=message):
        simtrain.encode(store, **{**QUICK, **wrong})


def test_the_example_runs(store):
    must_run(simtrain.encode, store=store)
