"""simtrain.saliency: the maps that the command writes, as labelled arrays."""

from concurrent.futures import ThreadPoolExecutor

import nibabel
import numpy as np
import pytest
from command_line import call
from examples import must_run
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis

import simtrain
from simdata.common.errors import UserError

QUICK = {"method": "sensitivity", "windows": 2, "device": "cpu"}


def test_it_gives_what_the_command_writes(trained, store, tmp_path):
    words = ("--method", "sensitivity", "--windows", 2, "--by-frame", "--randomise", "--device", "cpu")
    shown = call("saliency", trained.path, store, *words, "--out", tmp_path / "told")
    seen = []
    asked = {
        "out": tmp_path / "out",
        "by_frame": True,
        "randomise": True,
        "progress": lambda *of: seen.append(of),
    }
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(simtrain.saliency, str(trained.path), str(store), **QUICK, **asked).result()
    assert seen == [("s5", 1, 2), ("s6", 2, 2)]
    assert found.windows == {"s5": 2, "s6": 2}
    assert f"spearman {found.alike['spearman']:.3f}" in shown
    name = "sensitivity.video.ico6.dscalar.nii"
    told, ours = (nibabel.load(tmp_path / folder / name) for folder in ("told", "out"))
    np.testing.assert_array_equal(told.get_fdata(), ours.get_fdata())
    left = told.header.get_axis(1).vertex[told.header.get_axis(1).name == "CIFTI_STRUCTURE_CORTEX_LEFT"]
    inside = told.header.get_axis(1).name == "CIFTI_STRUCTURE_CORTEX_LEFT"
    np.testing.assert_allclose(found.mean.sel(hemisphere="L")[left], told.get_fdata()[0, inside], rtol=1e-5)
    np.testing.assert_allclose(
        found.maps.sel(subject="s6").sum("frame").sel(hemisphere="L")[left],
        told.get_fdata()[6, inside],
        rtol=1e-5,
    )
    assert found.maps.attrs["units"] == "|change of video similarity| per s.d. of BOLD"
    assert found.random.shape == found.maps.shape == (2, 3, 2, 40962)


def test_nothing_is_written_unless_asked_for(trained, store, tmp_path):
    found = simtrain.saliency(trained.path, store, **QUICK, subjects=["s5"], save=False, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    found.save(tmp_path / "later", mesh="32k")
    assert (tmp_path / "later" / "sensitivity.video.32k.dscalar.nii").exists()
    assert found.windows == {"s5": 2}


def test_heads_are_kept_apart(trained, store, tmp_path):
    quick = {"windows": 2, "device": "cpu", "save": False}
    found = simtrain.saliency(trained.path, store, method="attention", by_head=True, **quick)
    heads = trained.config.model.heads
    assert found.by_head.sizes == {"subject": 2, "head": heads, "frame": 1, "hemisphere": 2, "vertex": 40962}
    np.testing.assert_allclose(found.by_head.mean("head"), found.maps, rtol=1e-6)
    assert simtrain.saliency(trained.path, store, method="attention", **quick).by_head is None


def test_maps_by_parcel_are_a_table(trained, store, tmp_path):
    found = simtrain.saliency(trained.path, store, **QUICK, save=False)
    models = BrainModelAxis.from_surface(range(40962), 40962, name="CIFTI_STRUCTURE_CORTEX_LEFT")
    keys = np.where(np.arange(40962) < 900, 7, 0)[None].astype("f4")
    labels = LabelAxis(["atlas"], {0: ("???", (0, 0, 0, 0)), 7: ("V1", (1, 0, 0, 1))})
    nibabel.save(Cifti2Image(keys, header=(labels, models)), tmp_path / "a.dlabel.nii")
    table = found.by_parcel([tmp_path / "a.dlabel.nii"], by_frame=True)
    assert table.index.tolist() == ["mean", "frame 0", "frame 1", "frame 2", "s5", "s6"]
    expected = found.mean.sel(hemisphere="L")[:900].mean().item()
    assert table.loc["mean", "L V1"] == pytest.approx(expected, rel=1e-6)
    with pytest.raises(UserError, match="L has 40962 vertices, and the maps have 32492"):
        found.by_parcel([tmp_path / "a.dlabel.nii"], mesh="32k")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "lime"}, "method: 'lime' is not one of rollout"),
        ({"experiment": "all"}, "experiment: 'all' is not one of new-subjects.*any"),
        ({"mesh": "164k"}, "mesh: '164k' is not one of ico6"),
        ({"heads": "sum"}, "heads: 'sum' is not one of mean"),
        ({"windows": 0}, "windows: 0 is less than 1"),
        ({"steps": 0}, "steps: 0 is less than 1"),
        ({"batch_size": 0}, "batch_size: 0 is less than 1"),
        ({"modality": "smell"}, "`modality` 'smell': .* is a model of video, audio alone"),
        ({"subjects": ["nobody"]}, "no subject nobody"),
        ({"out": "s3://here"}, "out: 's3://here' is a URL"),
        ({"method": "rollout", "by_frame": True}, "`by_frame`: rollout does not tell the frames"),
    ],
)
def test_what_is_wrong_is_named(trained, store, wrong, message):
    with pytest.raises(UserError, match=message):
        simtrain.saliency(trained.path, store, **{**QUICK, "save": False, **wrong})


def test_the_example_runs(trained, store, tmp_path):
    must_run(simtrain.saliency, run=trained, store=store, out=tmp_path)
