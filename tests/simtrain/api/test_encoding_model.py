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
    told, ours = (
        nibabel.load(tmp_path / folder / "encoding.r.ico6.dscalar.nii") for folder in ("told", "out")
    )
    np.testing.assert_array_equal(told.get_fdata(), ours.get_fdata())
    assert list(told.header.get_axis(0).name) == ["mean", "s5"]
    inside = told.header.get_axis(1).name == "CIFTI_STRUCTURE_CORTEX_LEFT"
    left = told.header.get_axis(1).vertex[inside]
    np.testing.assert_allclose(found.mean.r.sel(hemisphere="L")[left], told.get_fdata()[0, inside], rtol=1e-5)
    written = json.loads((tmp_path / "told" / "encoding.r.ico6.json").read_text())
    assert written["features"] == ["video_shapes"]
    assert written["delays"] == [6, 7]
    assert f"max {written['r']['max']:.3f}" in shown
    assert f"q <= 0.05: {100 * written['significant']['q']['mean']:.1f} % of vertices" in shown
    assert f"note: {written['notes'][0]}" in shown
    assert {path.name.split(".")[1] for path in (tmp_path / "told").glob("*.dscalar.nii")} == {*found.mean}
    assert set(found.mean) == {"r", "r2", "p", "q"}
    assert found.maps.r.sizes == {"subject": 1, "hemisphere": 2, "vertex": 40962}


def test_nothing_is_written_unless_asked_for(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    simtrain.encode(store, **QUICK, features=["video", "audio_tones"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"delays": (3, 1)}, "`delays` 3 to 1"),
        ({"subjects": "nobody"}, "no subject nobody"),
        ({"mesh": "164k"}, "mesh: '164k' is not one of"),
        ({"out": "s3://here"}, "out: 's3://here' is a URL"),
        ({"features": "video_words"}, "`features` video_words: .* it has: video_shapes, audio_tones"),
        ({"features": "text"}, "`features` text: .* has no such embedding"),
        ({"features": "video,video_shapes"}, "none twice"),
        ({"features": []}, "name one or several"),
        ({"ridge": "banded"}, "`ridge` banded: `features` has video_shapes alone"),
        ({"ridge": "lasso"}, "ridge: 'lasso' is not one of"),
        ({"mixes": 9}, "`mixes` 9: these are of `ridge` banded"),
        (
            {"features": "video,audio", "ridge": "banded", "mixes": 2},
            "`mixes` 2: banded ridge of 2 spaces needs 3 or more",
        ),
        ({"partition": True}, "`partition`: `features` has video_shapes alone"),
        ({"shifts": -1}, "`shifts` -1"),
        ({"split": "train"}, "split: 'train' is not one of"),
        ({"split": "val"}, "no second of val scenes"),
    ],
)
def test_what_is_wrong_is_named(store, wrong, message):
    with pytest.raises(UserError, match=message):
        simtrain.encode(store, **{**QUICK, **wrong})


def test_of_a_kind_that_the_store_has_twice_one_is_named(rich_store):
    with pytest.raises(UserError, match="has video_noise, video_shapes: name one"):
        simtrain.encode(rich_store, **QUICK)
    chosen = simtrain.encode(rich_store, **QUICK, overrides={"data.video": "shapes"})
    assert chosen.record["features"] == ["video_shapes"]


def test_banded_ridge_penalises_away_a_space_that_says_nothing(rich_store):
    spaces = ["video_shapes", "video_noise"]
    banded = simtrain.encode(rich_store, **QUICK, features=spaces, ridge="banded", mixes=6)
    assert (banded.record["ridge"], banded.record["mixes"]) == ("banded", 6)
    cortex = simtrain.open_dataset(rich_store).cortex
    shapes, noise = (
        banded.maps.penalty.sel(subject="s5", feature_space=one).values[cortex] for one in spaces
    )
    assert np.mean(noise > shapes) > 0.8
    plain = simtrain.encode(rich_store, **QUICK, features=spaces)
    assert banded.mean.r.mean() > plain.mean.r.mean() + 0.02
    assert banded.mean.r2.mean() > plain.mean.r2.mean()


def test_the_example_runs(store):
    must_run(simtrain.encode, store=store)
