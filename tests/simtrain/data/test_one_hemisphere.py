"""A model of the left hemisphere alone never looks at the right one."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
import xarray as xr
from command_line import call, sets

from simtrain.training import checkpoint

LEFT = ["data.hemispheres=L", "model.ico=1", "model.dim=16", "model.depth=1", "model.dim_head=16"]
LEFT += ["train.steps=4", "train.batch_size=16", "train.validation_samples=16", "train.validate_every=2"]
TEST = ("--experiment", "new-subjects", "--pool", "8")


@pytest.fixture(scope="module")
def left_store(store, tmp_path_factory):
    """The small store with noise in place of all of the right hemisphere's BOLD, its shards' indices too."""
    path = tmp_path_factory.mktemp("left") / "left.zarr"
    shutil.copytree(store, path)
    shards = list(path.glob("bold/c/*/*/0/1/0"))
    assert len(shards) == 11
    for shard in shards:
        shard.write_bytes(np.random.default_rng(0).bytes(shard.stat().st_size))
    return path


@pytest.fixture(scope="module")
def runs(store, left_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, place in (("whole", store), ("left", left_store)):
        call("fit", place, "--config", "demo", *sets(LEFT), "--out", folder / name)
    return folder


def weights(folder):
    return [checkpoint.load(folder / name / "checkpoint.pt")["learner"] for name in ("whole", "left")]


def test_training_and_retrieval_are_the_same_without_it(runs, store, left_store):
    whole, left = weights(runs)
    assert all(torch.equal(whole[name], left[name]) for name in whole)
    for name, place in (("whole", store), ("left", left_store)):
        call("retrieve", runs / name, place, *TEST)
    figures = [json.loads((runs / name / "retrieval.json").read_text()) for name in ("whole", "left")]
    assert figures[0] == figures[1]


def test_what_is_written_is_of_it_alone(runs, store, tmp_path):
    call("predict", runs / "whole", store, "--by-hemisphere", "--out", tmp_path / "predicted.zarr")
    with xr.open_zarr(tmp_path / "predicted.zarr") as predicted:
        assert predicted.hemisphere.values.tolist() == ["L"]
        there = predicted.fmri_by_hemisphere.isel(hemisphere=0)
        np.testing.assert_allclose(there, predicted.fmri, atol=1e-6)
    call("saliency", runs / "whole", store, "--steps", "1", "--windows", "2", "--figures", "--randomise")
    image = nib.load(next((runs / "whole/saliency").glob("*.ico6.dscalar.nii")))
    structures = [name for name, *_ in image.header.get_axis(1).iter_structures()]
    assert structures == ["CIFTI_STRUCTURE_CORTEX_LEFT"]


@pytest.mark.parametrize("kind", ["ridge", "pca", "intersubject"])
def test_baselines_have_no_more_than_the_model(kind, store, left_store, tmp_path):
    overrides = sets([*LEFT, "train.steps=2"])
    results = []
    for name, place in (("whole", store), ("left", left_store)):
        options = ("--kind", kind, "--config", "demo", *overrides, "--ico", "1", "--components", "8")
        call("baseline", place, "--out", tmp_path / name, *options, *TEST)
        results.append(json.loads((tmp_path / name / kind / "retrieval.json").read_text()))
    assert results[0] == results[1]


def test_pretraining_has_it_alone(store, left_store, tmp_path):
    settings = [*LEFT, "mae.decoder_dim=16", "mae.decoder_depth=1", "mae.decoder_heads=1"]
    for name, place in (("whole", store), ("left", left_store)):
        call("pretrain", place, "--config", "demo", *sets(settings), "--out", tmp_path / name)
        call("reconstruct-maps", tmp_path / name, place, "--windows", "1", "--out", tmp_path / f"{name}-maps")
    whole, left = (
        checkpoint.load(tmp_path / name / "checkpoint.pt")["learner"] for name in ("whole", "left")
    )
    assert all(torch.equal(whole[name], left[name]) for name in whole)
    assert list((tmp_path / "whole-maps").glob("*.L.original.func.gii"))
    assert not list((tmp_path / "whole-maps").glob("*.R.original.func.gii"))
