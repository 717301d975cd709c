"""The baselines fitted on the small store and tested as a model is."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from click.testing import CliRunner

from simtrain.baselines import experiments
from simtrain.baselines.experiments import Baselines, BaselineSettings
from simtrain.cli.root import cli
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.retrieval.protocol import Protocol
from simtrain.training import checkpoint

CPU = torch.device("cpu")
LAG = 6  # of the small store
PROTOCOL = Protocol(pool=32, clips=40, draws=3, lag=LAG, negatives="same-movie", joint="none", seed=0)
SETTINGS = BaselineSettings(ico=1, components=8, samples=96)
SMALL = ["model.ico=1", "model.dim=16", "model.depth=1", "train.steps=50", "train.batch_size=32"]
KINDS = ("ridge", "pca", "intersubject")


def _baselines(store, settings=SETTINGS):
    dataset = open_dataset(store)
    return Baselines(dataset, resolve(load("demo", SMALL), dataset), settings, CPU)


@pytest.fixture(scope="module")
def found(store, tmp_path_factory):
    """kind -> lag -> result in new subjects; and what the fits left behind."""
    baselines, out = _baselines(store), tmp_path_factory.mktemp("baselines")
    results = {}
    for kind in KINDS:
        fitted, _ = baselines.fit(kind, out / kind)
        results[kind] = {
            lag: baselines.test(fitted, "new-subjects", replace(PROTOCOL, lag=lag))["new-subjects"]
            for lag in (LAG, 12)
        }
    return results, out


@pytest.mark.parametrize("kind", KINDS)
def test_the_planted_signal_is_found_in_new_subjects(found, kind):
    for score in found[0][kind][LAG].scores.values():
        assert score.p("top-1") < 0.05
        assert (score.ranks.rank <= 1).mean() > 3 / 32


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_lag_is_at_chance(found, kind):
    for score in found[0][kind][12].scores.values():
        assert score.p("top-1") > 0.05 / 10  # there are ten directions in all
        assert (score.ranks.rank <= 1).mean() < 4 / 32
        assert abs((score.ranks.rank <= 10).mean() - 10 / 32) < 0.15


def test_all_kinds_are_tested_on_the_same_windows_in_both_directions(found):
    results = [found[0][kind][LAG] for kind in KINDS]
    for result in results[1:]:
        for tested in result.tested.values():
            np.testing.assert_array_equal(tested, results[0].tested["fmri->video"])
    both = ["fmri->video", "video->fmri", "fmri->audio", "audio->fmri"]
    assert [list(result.scores) for result in results] == [both, both, ["fmri->others", "others->fmri"]]


def test_what_was_fitted_is_written(found):
    out = found[1]
    with np.load(out / "ridge/ridge.npz") as ridge:
        assert ridge["delays"].tolist() == [-1, 0, 1, 2, 3]
        assert ridge["weights"].shape[1] == 17
    assert (out / "pca/pca.pt").exists()
    with xr.open_zarr(out / "intersubject/isc.zarr") as maps:
        assert maps.isc.dims == ("subject_set", "movie", "hemisphere", "vertex")
        assert json.loads(maps.attrs["store"])["catalog_name"] == "small"
    fit = json.loads((out / "intersubject/fit.json").read_text())
    assert fit["notes"]["isc"]["test"]["q50"] > 0.1
    assert fit["settings"]["ico"] == 1
    assert 0 < json.loads((out / "pca/fit.json").read_text())["notes"]["explained_variance"] < 1


def test_nothing_of_test_subjects_or_test_scenes_enters_the_fits(store, tmp_path):
    changed = tmp_path / "changed.zarr"
    shutil.copytree(store, changed)
    group, rng = zarr.open_group(changed, mode="r+"), np.random.default_rng(9)
    bold = group["bold"]
    bold[3:] = rng.integers(-100, 100, (3, *bold.shape[1:]), dtype=np.int8)
    held_out = group["scene_split"][:] == 3
    for name in ("video_shapes", "audio_tones"):
        values = group[name][:]
        values[held_out] *= 7
        group[name][:] = values
    one, other = _baselines(store, FEW), _baselines(changed, FEW)
    ridge, again = (of.ridge(of.courses("mean")) for of in (one, other))
    for name in ("weights", "x_mean", "y_mean", "penalty"):
        np.testing.assert_array_equal(getattr(ridge, name), getattr(again, name))
    axes, again = one.axes, other.axes
    torch.testing.assert_close(axes.axes, again.axes, rtol=0, atol=0)
    torch.testing.assert_close(axes.mean, again.mean, rtol=0, atol=0)


@pytest.fixture
def projectors(store, tmp_path):
    """From overrides to what PCA's projectors are in the end."""
    dataset = open_dataset(store)

    def fitted(*overrides):
        small = [*SMALL, "train.steps=4", "train.schedule=constant", "train.warmup=0", *overrides]
        baselines = Baselines(dataset, resolve(load("demo", small), dataset), FEW, CPU)
        baselines.fit("pca", tmp_path)
        return checkpoint.load(tmp_path / "pca.pt")["learner"]["sim.projectors.fmri.project.weight"]

    return fitted


FEW = BaselineSettings(ico=0, components=2, samples=40)


def test_projectors_of_pca_are_averaged_and_see_other_lags_as_those_of_fit(projectors):
    plain = projectors()
    assert torch.equal(plain, projectors())
    assert not torch.equal(plain, projectors("train.ema=0.9"))
    assert not torch.equal(plain, projectors("data.lag_jitter=2"))


def test_projectors_of_pca_are_the_best_by_validation_or_the_last(projectors):
    wild = ("train.learning_rate=10", "train.best_by=loss", "train.validate_every=1")
    steps = [projectors(*wild, f"train.steps={n}", "train.best_by=null") for n in (1, 2, 3, 4)]
    best = projectors(*wild)
    assert [torch.equal(best, one) for one in steps].count(True) == 1
    assert not torch.equal(best, steps[-1])
    assert torch.equal(best, projectors(*wild, "train.patience=2"))


def test_projectors_of_pca_do_not_depend_on_the_encoder(projectors):
    assert torch.equal(projectors(), projectors("model.patch_embedding=linear", "model.depth=2"))


def test_no_delay_of_ridge_leads_into_a_held_out_scene(store, monkeypatch):
    seen = {}

    def fit(courses, windows, fold, targets, delays, device):
        seen["seconds"] = (windows["clip"][:, None] + delays).ravel()
        seen["movie"] = windows["movie"].repeat(len(delays))

    monkeypatch.setattr(experiments, "fit_ridge", fit)
    baselines = _baselines(store, replace(SETTINGS, delays=(-2, 5)))
    baselines.ridge(baselines.courses("L"))
    dataset = open_dataset(store)
    assert (dataset.scene_split[seen["movie"], seen["seconds"]] == 1).all()


def test_the_command_prints_and_writes_the_same_table_as_retrieve(store, tmp_path):
    arguments = ["baseline", store, "--out", tmp_path / "out", "--kind", "ridge", "--config", "demo"]
    arguments += ["--ico", 0, "--delays", "0:2", "--targets", 4, "--experiment", "new-subjects"]
    arguments += ["--draws", 2, "--clips", 20, "--device", "cpu"]
    result = CliRunner().invoke(cli, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "ridge: features" in result.output
    assert "pool of 32, same-movie negatives, lag 6 s" in " ".join(result.output.split())
    written = json.loads((tmp_path / "out/ridge/retrieval.json").read_text())
    assert set(written["experiments"]["new-subjects"]["directions"]) >= {"fmri->video", "audio->fmri"}
    with np.load(tmp_path / "out/ridge/ridge.npz") as ridge:
        assert ridge["weights"].shape[1] == 8


QUICK = ["--config", "demo", "--experiment", "new-subjects", "--clips", "20", "--draws", "2", "--ico", "1"]


def _call(store, out, *options):
    words = ["baseline", str(store), "--out", str(out), *QUICK, *options]
    return CliRunner().invoke(cli, words)


def _windows(folder):
    with (folder / "retrieval/windows.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", ["pca", "intersubject"])
def test_what_sees_hemispheres_apart_is_tested_by_each(kind, store, tmp_path):
    options = ("--kind", kind, "--components", "8", "--hemispheres", "each")
    assert _call(store, tmp_path, *options).exit_code == 0
    assert {row["hemisphere"] for row in _windows(tmp_path / kind)} == {"L", "R"}


def test_ridge_by_each_hemisphere_is_that_of_one_and_of_the_other(store, tmp_path):
    assert _call(store, tmp_path / "mean", "--kind", "ridge").exit_code == 0
    for name in ("each", "L", "R"):
        result = _call(store, tmp_path / name, "--kind", "ridge", "--hemispheres", name)
        assert result.exit_code == 0, result.exception
    alone = ("--kind", "ridge", "--set", "data.hemispheres=R")
    assert _call(store, tmp_path / "alone", *alone).exit_code == 0
    each, left, right, one = (_windows(tmp_path / name / "ridge") for name in ("each", "L", "R", "alone"))
    assert {row["hemisphere"] for row in each} == {"L", "R"}
    ranks = {side: [row["rank"] for row in each if row["hemisphere"] == side] for side in ("L", "R")}
    assert ranks == {"L": [row["rank"] for row in left], "R": [row["rank"] for row in right]}
    assert ranks["R"] == [row["rank"] for row in one]
    assert ranks["L"] != ranks["R"]
    assert {path.name for path in (tmp_path / "each/ridge").glob("*.npz")} == {"ridge_L.npz", "ridge_R.npz"}
    assert {path.name for path in (tmp_path / "mean/ridge").glob("*.npz")} == {"ridge.npz"}
    notes = json.loads((tmp_path / "each/ridge/fit.json").read_text())["notes"]
    assert set(notes) == {"L", "R"}
