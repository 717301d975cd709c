"""The parts of the baselines, each against a plain way of doing the same."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from himalaya.ridge import RidgeCV
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.model_selection import PredefinedSplit

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.baselines.courses import Courses, zscore
from simtrain.baselines.isc import SETS, film_seconds, isc_maps, summary, write_maps
from simtrain.baselines.penalties import PENALTIES
from simtrain.baselines.ridge import Fold, film_folds, solve
from simtrain.baselines.targets import Targets
from simtrain.data.dataset import open_dataset
from simtrain.data.scan_rows import ScanEnds
from simtrain.data.windows import TRAIN, WINDOW, clip_split
from simtrain.surface.patches import patch_vertices

CPU = torch.device("cpu")
LAG = 6  # of the small store


def test_patch_courses_are_means_over_cortex_zscored_over_the_run(store):
    dataset = open_dataset(store)
    courses = Courses(dataset, 1)
    found = courses.run(4, 1)
    stored = BoldReader(store).read(np.array([[4, 1, 0, h] for h in range(2)]), 61).astype(float)
    expected = []
    for hemisphere, patch in ((h, patch) for h in range(2) for patch in patch_vertices(1)):
        inside = patch[dataset.cortex[hemisphere, patch]]
        if len(inside):
            course = stored[hemisphere][:, inside].mean(axis=1)
            expected.append((course - course.mean()) / course.std())
    assert found.shape == (61, courses.features)
    np.testing.assert_allclose(found, np.stack(expected, axis=1), atol=1e-4)


def test_a_constant_course_is_zero():
    np.testing.assert_array_equal(zscore(np.full((5, 2), 3.0)), 0)


def test_delays_go_from_each_second_and_stop_at_the_ends_of_the_scan():
    runs = np.array([[[1] * 10], [[1, 1, 1, 2, 2, 0, -2, 2, 2, 2]]])
    ends = ScanEnds(SimpleNamespace(run=runs, volumes=np.array([10])))
    found = ends.within(0, 0, np.array([0, 4, 8]), np.array([-1, 0, 3]))
    assert found.tolist() == [[0, 0, 3], [3, 4, 7], [7, 8, 9]]
    found = ends.within(1, 0, np.array([2, 3, 8]), np.array([-2, 0, 3]))
    assert found.tolist() == [[0, 2, 2], [3, 3, 4], [7, 8, 9]]


def test_a_zscore_is_that_of_usable_rows():
    course, usable = np.arange(12.0).reshape(6, 2) ** 2, np.array([1, 1, 0, 1, 0, 1], bool)
    found = zscore(course, usable)
    np.testing.assert_array_equal(found[usable], zscore(course[usable]))
    assert not found[~usable].any()
    np.testing.assert_array_equal(zscore(course, np.ones(6, bool)), zscore(course))
    assert not zscore(course, np.zeros(6, bool)).any()


def _folds(x, y, fold):
    """In parts of 25 rows, as runs come one by one."""
    folds = [Fold() for _ in range(fold.max() + 1)]
    for number, filled in enumerate(folds):
        rows = np.flatnonzero(fold == number)
        for start in range(0, len(rows), 25):
            filled.add(x[rows[start : start + 25]], y[rows[start : start + 25]])
    return folds


@pytest.mark.parametrize("rows", [40, 200, 400])  # fewer and more than features in a fold
def test_ridge_is_that_of_sklearn_on_the_same_design(rows):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, 60)) @ rng.standard_normal((60, 60)) + 3
    y = x[:, :5] @ rng.standard_normal((5, 4)) + 10 * rng.standard_normal((rows, 4)) - 7
    fold = rng.integers(0, 3, rows)
    weights, x_mean, y_mean, penalty = solve(_folds(x, y, fold), CPU)
    unit = np.square(x - x.mean(axis=0)).sum() / x.shape[1]
    plain = SklearnRidge(alpha=penalty * unit).fit(x, y)
    np.testing.assert_allclose(weights, plain.coef_.T, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose((x - x_mean) @ weights + y_mean, plain.predict(x), rtol=1e-5, atol=1e-6)


def test_the_penalty_is_the_best_of_a_plain_cross_validation():
    rng = np.random.default_rng(1)
    x, fold = rng.standard_normal((300, 40)), np.arange(300) % 4
    y = x @ rng.standard_normal((40, 3)) * [3, 0.4, 0.05] + 5 * rng.standard_normal((300, 3))
    *_, penalty = solve(_folds(x, y, fold), CPU)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    unit = np.square(x).sum() / 40
    errors = np.zeros((len(PENALTIES), 3))
    for row, alpha in enumerate(PENALTIES * unit):
        for number in range(4):
            held = fold == number
            model = SklearnRidge(alpha=alpha, fit_intercept=False).fit(x[~held], y[~held])
            errors[row] += np.square(y[held] - model.predict(x[held])).sum(axis=0)
    np.testing.assert_allclose(penalty, PENALTIES[errors.argmin(axis=0)])
    assert len(set(penalty)) > 1


def test_weights_and_penalties_are_those_of_himalaya():
    rng = np.random.default_rng(2)
    x, fold = rng.standard_normal((240, 50)), np.arange(240) % 3
    y = x @ rng.standard_normal((50, 4)) * [3, 1, 0.3, 0.1] + 5 * rng.standard_normal((240, 4))
    weights, _, _, penalty = solve(_folds(x, y, fold), CPU)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    unit = np.square(x).sum() / 50
    other = RidgeCV(alphas=PENALTIES * unit, cv=PredefinedSplit(fold)).fit(x, y)
    np.testing.assert_allclose(penalty * unit, other.best_alphas_)
    assert len(set(penalty)) > 1
    np.testing.assert_allclose(weights, other.coef_, atol=1e-9)


def test_folds_are_whole_clips_of_the_film():
    windows = np.zeros(100, WINDOW)
    windows["movie"], windows["clip"] = np.repeat([0, 1], 50), np.tile(np.arange(50), 2)
    segment = np.repeat([[1, 1, 2, 3, 3], [1, 2, 2, 2, 4]], 10, axis=1)
    fold = film_folds(windows, segment, 3)
    assert len(set(fold)) == 3
    for movie, code in ((0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 4)):
        assert len(set(fold[movie * 50 : movie * 50 + 50][segment[movie] == code])) == 1
    assert np.bincount(fold).max() <= 40
    with pytest.raises(UserError, match="cross-validation needs two"):
        film_folds(windows[:20], segment)


def test_targets_are_standardised_on_training_clips_and_their_components_are_pcas(store):
    dataset = open_dataset(store)
    embeddings = {"video": dataset.embedding("video_shapes"), "audio": dataset.embedding("audio_tones")}
    clips = clip_split(dataset, embeddings.values())
    training = np.nonzero(clips == TRAIN)
    whole, reduced = Targets(embeddings, clips), Targets(embeddings, clips, 3)
    assert whole.columns == {"video": slice(0, 10), "audio": slice(10, 17)}
    assert reduced.columns == {"video": slice(0, 3), "audio": slice(3, 6)}
    values = whole.of(*training)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-4)
    scores = PCA(3).fit_transform(values[:, :10])
    np.testing.assert_allclose(np.abs(reduced.of(*training)[:, :3]), np.abs(scores), atol=1e-3)


def test_isc_is_that_of_a_plain_loop(store, tmp_path):
    dataset = open_dataset(store)
    maps = isc_maps(dataset, LAG)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_maps(maps, tmp_path / "isc.zarr")
    vertices = np.flatnonzero(dataset.cortex.all(axis=0))[::997]
    everybody = {"train": [0, 1, 2], "test": [4, 5], "all": list(range(6))}
    for movie, hemisphere in ((0, 0), (1, 1)):
        seconds = film_seconds(dataset, movie, LAG)
        for row, name in enumerate(SETS):
            subjects = [s for s in everybody[name] if dataset.complete[s, movie]]
            runs = BoldReader(store).read(np.array([[s, movie, 0, hemisphere] for s in subjects]), 61)
            runs = runs[:, seconds][:, :, vertices].astype(float)
            runs = (runs - runs.mean(axis=1, keepdims=True)) / runs.std(axis=1, keepdims=True)
            for column, vertex in enumerate(vertices):
                each = [
                    np.corrcoef(one[:, column], np.delete(runs, i, axis=0)[:, :, column].mean(axis=0))[0, 1]
                    for i, one in enumerate(runs)
                ]
                assert maps.isc.values[row, movie, hemisphere, vertex] == pytest.approx(
                    np.mean(each), abs=1e-4
                )
    assert maps.subjects.values.tolist() == [[3, 2], [2, 2], [6, 5]]
    np.testing.assert_array_equal(~np.isnan(maps.isc_mean.values).any(axis=0), dataset.cortex)
    figures = summary(maps)
    assert figures["all"]["q50"] > 0.1  # the planted response is everywhere
    assert figures["train"]["max"] <= 1


def test_rest_and_the_repeated_clip_are_not_correlated_between_subjects(store):
    dataset = open_dataset(store)
    np.testing.assert_array_equal(film_seconds(dataset, 0, 6), [*range(8, 48), *range(50, 61)])
    assert film_seconds(dataset, 1, 10).max() == 60  # the run has 61 volumes
