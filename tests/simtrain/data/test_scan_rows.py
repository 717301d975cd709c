"""A store whose runs have gaps, several scans and interpolated rows: what is taken of it, and what is not."""

import shutil
import warnings

import numpy as np
import pytest
import xarray as xr
import zarr
from training_runs import fit_run

import simtrain
from simdata.common.errors import UserError
from simdata.store import BoldReader
from simdata.store.metadata import VARIABLE
from simtrain.baselines.courses import Courses
from simtrain.baselines.isc import isc
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.scan_rows import stretches, window_starts
from simtrain.data.windows import Windows, training
from simtrain.encoding.bold import read_rows
from simtrain.encoding.rows import ROW, rows_of, seen_by

REACH, LAG, FRAMES = 4, 6, 3


@pytest.fixture(scope="module")
def gappy(store, tmp_path_factory):
    """The small store: s1 lacks [10, 20) of M1, whose second scan begins at 30; s2 has [40, 42) scrubbed."""
    path = tmp_path_factory.mktemp("gappy") / "gappy.zarr"
    shutil.copytree(store, path)
    plain = xr.open_zarr(store, chunks=None)
    rows = np.arange(plain.sizes["second"]) < plain.volumes.values[:, None]
    run = (rows * plain.run_status.values[..., None]).astype(np.int16)
    run[0, 0, 10:20] = 0
    run[0, 0, 30:] *= 2
    run[1, 0, 40:42] *= -1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        added = xr.Dataset({"run": (("subject", "movie", "second"), run)})
        film = np.array(["M1", "M2"], object)
        added = added.assign_coords(reach=("movie", [REACH, 0]), film=("movie", film))
        added.to_zarr(path, mode="a", zarr_format=3, consolidated=True)
        group = zarr.open_group(path, mode="r+", use_consolidated=False)
        group[VARIABLE].attrs["format_version"] = "2.1"
        zarr.consolidate_metadata(path)
    return path


@pytest.fixture
def dataset(gappy):
    return open_dataset(gappy)


def test_a_dataset_has_what_the_store_says(dataset, store):
    assert dataset.run[0, 0, [9, 10, 19, 20, 29, 30]].tolist() == [1, 0, 0, 1, 1, 2]
    assert dataset.run[1, 0, 39:43].tolist() == [1, -1, -1, 1]
    assert dataset.reach.tolist() == [REACH, 0]
    assert dataset.film.tolist() == [0, 1]
    assert not dataset.of_subject(dataset.subjects[1]).run[0].any()
    old = open_dataset(store)
    assert old.reach.tolist() == [0, 0]
    assert ((old.run == 1).sum(axis=2) == old.complete * old.volumes).all()


def test_windows_are_of_one_scan_and_of_rows_that_may_be_used(dataset):
    config = resolve(load("demo", [f"data.lag={LAG}"]), dataset)
    used = Windows.of(dataset, config)
    found = used.find()
    own = found[(found["subject"] == 0) & (found["movie"] == 0)]["second"]
    assert not np.isin(own, [8, 9, *range(10, 20), 28, 29]).any()
    assert np.isin([20, 27, 30], own).all()
    scrubbed = found[(found["subject"] == 1) & (found["movie"] == 0)]["second"]
    assert not np.isin(scrubbed, [38, 39, 40, 41]).any()
    assert {37, 42} <= set(scrubbed.tolist())
    assert used.separation == used.span + REACH
    # Clips of alpha begin until 39, so BOLD until 47; beta is tested from BOLD of 50 on, 3 s later.
    trained = training(found)
    last = [trained["second"][trained["movie"] == movie].max() + FRAMES - 1 for movie in (0, 1)]
    assert last == [50 - REACH, 37 + LAG + FRAMES - 1]


def test_stretches_are_walks_over_equal_codes(dataset):
    first, last = stretches(dataset.run)
    for subject, movie in ((0, 0), (1, 0), (2, 1)):
        codes = dataset.run[subject, movie]
        for second, code in enumerate(codes.tolist()):
            begin = end = second
            while code > 0 and begin and codes[begin - 1] == code:
                begin -= 1
            while code > 0 and end + 1 < len(codes) and codes[end + 1] == code:
                end += 1
            assert (first[subject, movie, second], last[subject, movie, second]) == (begin, end)
    assert window_starts(dataset.run, 1).sum() == (dataset.run > 0).sum()


def test_isc_compares_the_seconds_that_a_subject_has(dataset):
    seconds = np.arange(8, 55)
    group = np.array([0, 1, 3])
    inside = np.flatnonzero(dataset.cortex[0])[::4000]
    found = isc(dataset, [group], 0, 0, seconds)[0, inside]
    courses = []
    for subject in group:
        stored = BoldReader(dataset.path).read_run(int(subject), 0, 0)[seconds][:, inside].astype(float)
        there = dataset.run[subject, 0, seconds] > 0
        unit, own = np.zeros_like(stored), stored[there] - stored[there].mean(axis=0)
        unit[there] = own / np.linalg.norm(own, axis=0)
        courses.append((unit, there))
    expected = []
    for own, (unit, there) in enumerate(courses):
        others = sum(other for place, (other, _) in enumerate(courses) if place != own)
        pairs = zip(unit[there].T, others[there].T, strict=True)
        expected.append([np.corrcoef(one, other)[0, 1] for one, other in pairs])
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-4)


def test_z_scores_are_over_the_rows_that_may_be_used(dataset):
    courses = Courses(dataset, 1, (0,))
    course = courses.run(0, 0)
    usable = dataset.run[0, 0, : len(course)] > 0
    np.testing.assert_allclose(course[usable].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(course[usable].std(axis=0), 1, atol=1e-4)
    rows = np.array([(0, clip) for clip in range(2, 40)], ROW)
    own = rows[seen_by(dataset, 0, rows, LAG)]
    assert own["clip"].tolist() == [*range(2, 4), *range(14, 40)]
    (bold,) = read_rows(dataset, 0, 0, LAG, [own])
    stored = BoldReader(dataset.path).read_run(0, 0, 0)[: len(course)][:, dataset.cortex[0]].astype(float)
    expected = (stored - stored[usable].mean(axis=0)) / stored[usable].std(axis=0)
    np.testing.assert_allclose(bold, expected[own["clip"] + LAG], atol=1e-3)


def test_rows_of_training_share_no_volume_with_a_held_out_scene(dataset):
    clips = dataset.sets.astype(np.int8)
    found = rows_of(dataset, clips, 1, np.array([0]), LAG)
    held = np.flatnonzero(dataset.scene_split[0] > 1) + LAG
    of_first = found["clip"][found["movie"] == 0] + LAG
    assert np.abs(of_first[:, None] - held).min() >= REACH
    assert len(of_first)


def test_models_are_trained_and_tested_on_it(gappy, tmp_path):
    run, _ = fit_run(gappy, tmp_path / "run", "context.before=4", "context.after=2")
    quick = {"experiment": "new-subjects", "pool": 4, "draws": 2, "device": "cpu", "save": False}
    assert len(simtrain.retrieve(run.path, gappy, **quick).metrics)


def test_a_store_that_lost_run_is_refused(gappy, tmp_path):
    xr.open_zarr(gappy, chunks={}).drop_vars("run").to_zarr(tmp_path / "less.zarr", align_chunks=True)
    with pytest.raises(UserError, match="has lost its variable 'run'"):
        open_dataset(tmp_path / "less.zarr")
