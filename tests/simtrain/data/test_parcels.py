"""Stores of parcels: all that trains and tests takes them, and what needs a mesh says so."""

import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from parcel_stores import write_parcel_store
from training_runs import TINY

import simtrain
from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.windows import Windows, by_hemisphere
from simtrain.models.input import FramePatches
from simtrain.surface.patches import patch_vertices

LEARNING = [
    *("model.dim=32", "model.depth=1", "model.dim_head=32", "model.heads=1", "model.pool=mean"),
    *("projector.average=before", "train.steps=60", "train.batch_size=32", "train.learning_rate=4e-3"),
    *("train.validation_samples=32",),
]


@pytest.fixture(scope="module")
def parcels(store, tmp_path_factory):
    return write_parcel_store(tmp_path_factory.mktemp("parcels") / "p.zarr", store)


@pytest.fixture(scope="module")
def run(parcels, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return simtrain.fit(parcels, out, config="demo", overrides=LEARNING, device="cpu")


def test_tokens_are_parcels_with_learned_positions(parcels, run):
    dataset = open_dataset(parcels)
    assert dataset.parcels[:2] == ["L0", "L1"]
    assert dataset.cortex.shape == (1, 160)
    config = yaml.safe_load((run.path / "config.yaml").read_text())
    assert config["data"]["hemispheres"] == "parcels"
    assert config["model"]["positions"] == "learned"
    weights = torch.load(run.path / "checkpoint.pt", weights_only=False)["learner"]
    assert weights["sim.encoder.positions"].shape == (1, 160, 32)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("normalise", ["vertex-zscore+frame-zscore", "vertex-zscore", "none"])
def test_what_the_model_sees_is_what_xarray_reads(store, tmp_path, dtype, normalise):
    path = write_parcel_store(tmp_path / "p.zarr", store, dtype)
    dataset = open_dataset(path)
    config = resolve(load("demo", [*TINY, f"data.normalise={normalise}"]), dataset)
    windows = Windows.of(dataset, config).find()[::97]
    samples = by_hemisphere(windows, config.data.sides)
    assert len(samples) == len(windows)
    index = np.stack([samples[axis] for axis in ("subject", "movie", "second", "hemisphere")], axis=1)
    stored = torch.from_numpy(BoldReader(path).read(index, 3))
    found = FramePatches.of(dataset, config).of_samples(samples, stored).numpy()
    plain = xr.open_zarr(path, chunks=None)
    values = plain.bold if normalise != "none" else plain.bold * plain.bold_std + plain.bold_mean
    for sample, ours in zip(samples, found, strict=True):
        at = {axis: int(sample[axis]) for axis in ("subject", "movie")}
        frames = values.isel(**at, second=slice(sample["second"], sample["second"] + 3)).values
        if normalise.endswith("frame-zscore"):
            mean, std = (f(frames, axis=1, keepdims=True) for f in (np.nanmean, np.nanstd))
            frames = (frames - mean) / std
        np.testing.assert_allclose(ours, np.nan_to_num(frames).T, rtol=2e-4, atol=2e-4)


TEST = {"experiment": "new-subjects", "pool": 8, "clips": 12, "draws": 4, "device": "cpu"}


def best_top1(found):
    return found.metrics.query("figure == 'top-1'")["mean"].max()


def test_a_model_of_parcels_retrieves_clips_of_new_subjects(run, parcels):
    assert best_top1(simtrain.retrieve(run, parcels, **TEST)) > 0.3  # chance is 1/8
    each = simtrain.retrieve(run, parcels, hemispheres="each", **TEST)
    assert best_top1(each) > 0.3
    with pytest.raises(UserError, match="`hemispheres` L: the model is of parcels alone"):
        simtrain.retrieve(run, parcels, hemispheres="L", **TEST)


@pytest.mark.parametrize("kind", ["ridge", "pca", "intersubject"])
def test_baselines_take_parcels(parcels, tmp_path, kind):
    options = {"config": "demo", "overrides": LEARNING, "components": 16}
    found = simtrain.baseline(parcels, tmp_path, kind, **options, **TEST)[kind]
    assert best_top1(found) > 0.3
    if kind == "intersubject":
        with xr.open_zarr(tmp_path / "intersubject/isc.zarr") as maps:
            assert maps.isc.dims == ("subject_set", "movie", "parcel")
            assert float(maps.isc.max()) > 0.1
    if kind == "ridge":
        with pytest.raises(UserError, match=r"`ico` 3: .* is a store of parcels, which have no mesh"):
            simtrain.baseline(parcels, tmp_path, kind, ico=3, **options, **TEST)


def test_ridge_takes_every_parcel(parcels, tmp_path):
    overrides = ["data.normalise=vertex-zscore"]
    found = simtrain.baseline(parcels, tmp_path, "ridge", inputs="vertices", overrides=overrides, **TEST)
    assert best_top1(found["ridge"]) > 0.3


def test_runs_know_what_they_were_trained_on(run, store, parcels, trained, tmp_path):
    with pytest.raises(UserError, match=r"data.hemispheres: parcels, but .* is a store of vertices"):
        simtrain.retrieve(run, store, **TEST)
    with pytest.raises(UserError, match="it was trained on vertices, and these are parcels"):
        simtrain.retrieve(trained.path, parcels, **TEST)
    other = xr.open_zarr(parcels, chunks=None)
    renamed = other.assign_coords(parcel=np.array([f"x{n}" for n in range(160)], object))
    renamed.to_zarr(tmp_path / "other.zarr", zarr_format=3, consolidated=True)
    with pytest.raises(UserError, match="it was trained on parcels, and these are others"):
        simtrain.retrieve(run, tmp_path / "other.zarr", **TEST)


def test_pretraining_serves_a_fit(parcels, tmp_path):
    small = [*TINY[1:5], "train.steps=6", "train.batch_size=8", "train.validate_every=3"]
    before = simtrain.pretrain(parcels, tmp_path / "mae", config="demo", overrides=small, device="cpu")
    overrides = [*TINY[1:5], "train.steps=4", "train.batch_size=8", f"model.init={before.path}"]
    after = simtrain.fit(parcels, tmp_path / "fit", config="demo", overrides=overrides, device="cpu")
    assert after.config.model.init.startswith("sha256:")
    few = xr.open_zarr(parcels, chunks=None).isel(parcel=slice(100))
    for variable in few.variables.values():
        variable.encoding.pop("shards", None)
        variable.encoding.pop("chunks", None)
    few.to_zarr(tmp_path / "few.zarr", zarr_format=3, consolidated=True)
    with pytest.raises(UserError, match="the encoder of mae is not of the size asked for"):
        simtrain.fit(tmp_path / "few.zarr", tmp_path / "b", config="demo", overrides=overrides, device="cpu")


def test_predict_encode_adapt_and_batches_take_parcels(run, parcels, tmp_path):
    simtrain.predict(run, parcels, tmp_path / "e.zarr", subjects=["s5"], device="cpu")
    with xr.open_zarr(tmp_path / "e.zarr") as embedded:
        assert "hemisphere" not in embedded.coords
        assert np.isfinite(embedded.fmri).any()
    found = simtrain.encode(parcels, delays=(0, 1), subjects=["s5", "s6"], device="cpu")
    assert found.maps.r.dims == ("subject", "parcel")
    assert found.maps.r.parcel.values[0] == "L0"
    assert float(found.mean.r.max()) > 0.3
    adapted = simtrain.adapt(run, parcels, "s5", tmp_path / "adapted", device="cpu")
    assert adapted.adaptation.subject == "s5"
    simtrain.predict(adapted, parcels, tmp_path / "adapted.zarr", device="cpu")
    batch = next(iter(simtrain.batches(parcels, "train", batch_size=4, device="cpu")))
    assert batch.fmri.shape == (4, 160, 3)


def test_maps_of_parcels_are_tables_and_where_they_lie_on_the_mesh_maps_of_it(parcels, tmp_path):
    options = {"delays": (0, 1), "subjects": ["s5", "s6"], "device": "cpu"}
    found = simtrain.encode(parcels, tmp_path / "tables", **options)
    assert {path.suffix for path in (tmp_path / "tables").iterdir()} == {".tsv", ".json"}
    table = (tmp_path / "tables/encoding.r.by-parcel.tsv").read_text().splitlines()
    assert table[0].split("\t")[:3] == ["map", "L0", "L1"]
    name, *values = table[1].split("\t")
    assert name == "mean"
    np.testing.assert_allclose(np.array(values, float), found.mean.r.values, atol=1e-5)
    labels = np.full((2, 40962), -1, np.int32)
    for side in range(2):
        for patch, vertices in enumerate(patch_vertices(1)):
            labels[side, vertices] = 80 * side + patch
    shutil.copytree(parcels, tmp_path / "p.zarr")
    added = xr.Dataset({"parcels": (("hemisphere", "vertex"), labels)})
    added.to_zarr(tmp_path / "p.zarr", mode="a", zarr_format=3, consolidated=True)
    simtrain.encode(tmp_path / "p.zarr", tmp_path / "maps", **options)
    (left, *_), (right, *_) = (
        nib.load(tmp_path / f"maps/{side}.encoding.r.ico6.func.gii").darrays for side in "LR"
    )
    on_mesh = np.stack([left.data, right.data])
    np.testing.assert_allclose(on_mesh, np.nan_to_num(found.mean.r.values)[labels], atol=1e-6)
    assert (tmp_path / "maps/encoding.r.ico6.dscalar.nii").is_file()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("data.hemispheres=L", "data.hemispheres: L: .* is a store of parcels, which have no mesh"),
        ("model.layout=stored", "model.layout: stored: .* is a store of parcels"),
    ],
)
def test_what_a_mesh_alone_has_is_refused(parcels, tmp_path, asked, words):
    overrides = [*TINY, "model.positions=sincos", asked]
    with pytest.raises(UserError, match=words):
        simtrain.fit(parcels, tmp_path / "run", config="demo", overrides=overrides, device="cpu")


def test_what_draws_on_a_surface_is_refused(run, parcels, tmp_path):
    with pytest.raises(UserError, match="saliency: a map of the cortex needs vertices"):
        simtrain.saliency(run, parcels, device="cpu")
    with pytest.raises(UserError, match="`by_hemisphere` needs vertices"):
        simtrain.predict(run, parcels, tmp_path / "e.zarr", by_hemisphere=True, device="cpu")
