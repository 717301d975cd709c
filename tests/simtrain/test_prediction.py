import json

import numpy as np
import pytest
import torch
import xarray as xr
from click.testing import CliRunner
from rich.console import Console

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.api.prediction import own_clock
from simtrain.cli.root import cli
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.own_clock import OwnClock
from simtrain.data.windows import clip_split, find_windows
from simtrain.models.embeddings import embed_fmri
from simtrain.prediction import predict
from simtrain.training.loop import fit
from simtrain.training.run_folder import FitRun
from simtrain.training.trained_model import load_learner

CPU = torch.device("cpu")
LAG, SECONDS = 6, 64  # of the small store
TINY = ["model.ico=1", "model.dim=16", "model.depth=1", "train.steps=2", "train.batch_size=8"]


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    dataset = open_dataset(store)
    config = resolve(load("demo", TINY), dataset)
    run = FitRun.start(tmp_path_factory.mktemp("predict") / "run", config, dataset)
    fit(dataset, run, CPU, Console(quiet=True))
    return run


@pytest.fixture(scope="module")
def predicted(run, store, tmp_path_factory):
    out = tmp_path_factory.mktemp("predict") / "all.zarr"
    predict(run, open_dataset(store), out, CPU, by_hemisphere=True)
    with xr.open_zarr(out) as opened:
        return opened.load()


def test_the_embeddings_are_those_of_retrieval(run, store, predicted):
    dataset = open_dataset(store)
    learner = load_learner(run, dataset, CPU)
    clips = clip_split(dataset, dataset.embeddings(run.config).values())
    windows = find_windows(dataset, clips, 3, LAG)
    some = np.random.default_rng(0).choice(windows, 50, replace=False)
    expected = embed_fmri(learner, BoldReader(store), some, 3)
    found = predicted.fmri.values[some["subject"], some["movie"], some["clip"]]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    with torch.no_grad():
        stimuli = learner.embed_clips(some["movie"], some["clip"])
    for modality in ("video", "audio"):
        np.testing.assert_allclose(
            predicted[modality].values[some["movie"], some["clip"]], stimuli[modality].numpy(), atol=1e-5
        )


def test_nan_where_there_is_no_window_and_unit_length_elsewhere(run, store, predicted):
    dataset = open_dataset(store)
    clips = clip_split(dataset, dataset.embeddings(run.config).values())
    windows = find_windows(dataset, clips, 3, LAG)
    usable = np.zeros(predicted.fmri.shape[:3], bool)
    usable[windows["subject"], windows["movie"], windows["clip"]] = True
    for name, expected in (("fmri", usable), ("video", clips != 0), ("audio", clips != 0)):
        length = np.linalg.norm(predicted[name].values, axis=-1)
        np.testing.assert_array_equal(~np.isnan(length), expected)
        np.testing.assert_allclose(length[expected], 1, atol=1e-5)
    assert not usable[2, 1].any()  # the run that is absent


def test_the_mean_over_hemispheres_is_the_whole(predicted):
    mean = predicted.fmri_by_hemisphere.mean("hemisphere", skipna=False)
    mean = mean / np.sqrt((mean**2).sum("embedding", skipna=False))
    np.testing.assert_allclose(mean.values, predicted.fmri.values, atol=1e-5)


def test_labels_and_attributes_say_what_it_is(run, store, predicted):
    assert predicted.fmri.dims == ("subject", "movie", "second", "embedding")
    assert predicted.video.dims == ("movie", "second", "embedding")
    assert predicted.fmri.dtype == np.float32
    assert predicted.subject.values.tolist() == ["s1", "s2", "s3", "s4", "s5", "s6"]
    assert predicted.subject_split.values.tolist() == ["train"] * 3 + ["val", "test", "test"]
    np.testing.assert_array_equal(predicted.bold_second, predicted.second + LAG)
    assert predicted.fmri.encoding["chunks"] == (1, 1, SECONDS, 64)
    assert predicted.video.attrs["encoder"] == "shapes"
    attrs = predicted.attrs
    assert attrs["Conventions"].startswith("CF-")
    assert attrs["stimulus_lag"] == LAG
    assert attrs["weights_step"] == 2
    assert isinstance(attrs["trained_on"], str), "netCDF has no dictionaries"
    assert json.loads(attrs["config"]) == run.config.model_dump(mode="json")
    assert json.loads(attrs["store"]) == open_dataset(store).identity
    assert {"simdata", "torch", "zarr"} <= set(json.loads(attrs["software"]))


def test_the_command_writes_the_subjects_asked_for(run, store, predicted, tmp_path):
    out = tmp_path / "deeper" / "two.zarr"
    arguments = ["predict", run.path, store, "--out", out, "--subject", "s5", "--subject", "s2"]
    result = CliRunner().invoke(cli, list(map(str, [*arguments, "--device", "cpu"])), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    with xr.open_zarr(out) as opened:
        assert opened.subject.values.tolist() == ["s2", "s5"]
        assert "fmri_by_hemisphere" not in opened
        expected = predicted.fmri.sel(subject=["s2", "s5"])
        np.testing.assert_allclose(opened.fmri.values, expected.values, atol=1e-5)
    assert [path.name for path in out.parent.iterdir()] == ["two.zarr"]


@pytest.mark.parametrize(("tr", "onset"), [(1.49, 7.3), (0.8, -3.0), (1.0, 0.0)])
def test_volumes_of_another_clock_are_between_seconds(run, store, predicted, tmp_path, tr, onset):
    out = tmp_path / "own.zarr"
    predict(run, open_dataset(store), out, CPU, by_hemisphere=True, clock=OwnClock(tr, onset))
    with xr.open_zarr(out) as opened:
        own = opened.load()
    assert own.fmri.dims == ("subject", "movie", "volume", "embedding")
    assert own.sizes["volume"] == int((SECONDS + onset) / tr)
    middles = (np.arange(own.sizes["volume"]) + 0.5) * tr
    np.testing.assert_allclose(own.scan_time, middles)
    np.testing.assert_allclose(own.film_time, middles - onset)
    assert (own.attrs["tr"], own.attrs["onset"]) == (tr, onset)
    place = own.film_time.values - 0.5  # in seconds' rows
    for name in ("fmri", "video", "fmri_by_hemisphere"):
        values, rows = own[name].values, predicted[name].values
        lengths = np.linalg.norm(values, axis=-1)
        np.testing.assert_allclose(lengths[np.isfinite(lengths)], 1, atol=1e-5)
        assert np.isfinite(lengths).any()
        axis = 1 if name == "video" else 2
        volumes = np.flatnonzero((place >= 2) & (place < SECONDS - 3))
        nearest = rows.take(np.rint(place[volumes]).astype(int), axis=axis)
        same = (nearest * values.take(volumes, axis=axis)).sum(axis=-1)
        assert np.nanmedian(same) > 0.95
        turned = (nearest * values.take(volumes[::-1], axis=axis)).sum(axis=-1)
        assert np.nanmedian(turned) < np.nanmedian(same) - 0.01
    if tr == 1.0:
        np.testing.assert_allclose(own.fmri.values, predicted.fmri.values, atol=1e-6)
        np.testing.assert_array_equal(own.scene_split.values, predicted.scene_split.values)


def test_a_clock_that_makes_no_sense_is_refused(run, store, tmp_path):
    with pytest.raises(UserError, match="`onset`: is a time of a scan"):
        own_clock(None, 3.0)
    for tr, onset in ((0.0, 0), (-1, 0), (float("nan"), 0), (1.49, float("inf"))):
        with pytest.raises(UserError, match=r"`tr`|`onset`"):
            OwnClock(tr, onset)
    with pytest.raises(UserError, match="no volume has any of the film"):
        predict(run, open_dataset(store), tmp_path / "o.zarr", CPU, clock=OwnClock(1.0, -500.0))


def test_mistakes_are_explained_and_a_failure_leaves_nothing_at_out(run, store, tmp_path, monkeypatch):
    out = tmp_path / "out.zarr"
    with pytest.raises(UserError, match=r"no subject nobody: see `simdata info`"):
        predict(run, open_dataset(store), out, CPU, subjects=["nobody"])

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(run, open_dataset(store), out, CPU, progress=stop)
    assert not out.exists()
    out.mkdir()
    with pytest.raises(UserError, match="exists: give `out` a new path"):
        predict(run, open_dataset(store), out, CPU)
