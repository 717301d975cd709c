"""Encoding models against scikit-learn's ridge, vertex by vertex and fold by fold."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.baselines.encoding_models import EncodingModels, RidgeOfOneDesign, correlation
from simtrain.baselines.ridge import PENALTIES
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve

CPU = torch.device("cpu")


def _plain(x, fold, new, y):
    """Predictions of a target, and its penalty."""
    unit = np.square(x - x.mean(axis=0)).sum() / x.shape[1]
    errors = []
    for penalty in PENALTIES:
        error = 0.0
        for one in np.unique(fold):
            held_out = fold == one
            model = Ridge(penalty * unit).fit(x[~held_out], y[~held_out])
            error += np.square(model.predict(x[held_out]) - y[held_out]).sum()
        errors.append(error)
    best = PENALTIES[int(np.argmin(errors))]
    return Ridge(best * unit).fit(x, y).predict(new), best


@pytest.mark.parametrize("features", [7, 90])  # fewer and more than rows
def test_it_is_sklearn_s_ridge_with_the_penalty_of_each_target_by_cross_validation(features):
    rng = np.random.default_rng(features)
    x, new = rng.standard_normal((60, features)) + 1, rng.standard_normal((25, features)) + 1
    noise = np.array([0.1, 1, 10, 100])
    y = x @ rng.standard_normal((features, 4)) + noise * rng.standard_normal((60, 4)) + 5
    fold = rng.integers(0, 3, 60)
    predicted, penalty = RidgeOfOneDesign(x, fold, new, CPU).predict(y)
    for target in range(4):
        expected, best = _plain(x, fold, new, y[:, target])
        assert penalty[target] == best
        np.testing.assert_allclose(predicted[:, target], expected, rtol=1e-6, atol=1e-8)
    assert len(np.unique(penalty)) > 1


def test_correlation_is_pearson_s_and_0_where_nothing_varies():
    one, other = np.random.default_rng(0).standard_normal((2, 30, 5))
    expected = [np.corrcoef(*pair)[0, 1] for pair in zip(one.T, other.T, strict=True)]
    np.testing.assert_allclose(correlation(one, other), expected)
    assert correlation(one, np.ones((30, 5))).tolist() == [0] * 5


def _models(store, *overrides, delays=(-1, 1), modalities="fmri,video"):
    dataset = open_dataset(store)
    config = resolve(load("demo", list(overrides), modalities), dataset)
    return dataset, EncodingModels(dataset, config, delays, CPU)


def test_a_vertex_is_predicted_from_the_clips_before_it_in_scenes_of_its_set(store):
    """Worked out from the store for two vertices of a subject, by hand-made rows."""
    dataset, models = _models(store)
    found = models.of([4])
    train = [(0, clip) for clip in range(3, 39)] + [(1, clip) for clip in range(2, 37)]
    test = [(0, clip) for clip in range(45, 52)] + [(1, clip) for clip in range(43, 52)]
    assert found.seconds.tolist() == [[len(train), len(test)]]
    values = dataset.embedding("video_shapes").values
    clips = [(0, clip) for clip in range(2, 40)] + [(1, clip) for clip in range(1, 38)]
    scaler = StandardScaler().fit([values[place] for place in clips])
    x, new = (
        np.array(
            [
                np.concatenate([scaler.transform(values[[movie], clip - d])[0] for d in (-1, 0, 1)])
                for movie, clip in rows
            ]
        )
        for rows in (train, test)
    )
    runs = {}
    for movie, volumes in ((0, 64), (1, 61)):
        run = BoldReader(store).read(np.array([[4, movie, 0, 1]]), volumes)[0].astype(float)
        runs[movie] = (run - run.mean(axis=0)) / np.where(dataset.cortex[1], run.std(axis=0), 1)
    fold = np.array([movie for movie, _ in train])
    for vertex in np.flatnonzero(dataset.cortex[1])[[100, 20_000]]:
        y, true = (
            np.array([runs[movie][clip + 6, vertex] for movie, clip in rows]) for rows in (train, test)
        )
        predicted, best = _plain(x, fold, new, y)
        assert found.penalty[0, 1, vertex] == pytest.approx(best)
        assert found.r[0, 1, vertex] == pytest.approx(np.corrcoef(predicted, true)[0, 1], abs=1e-4)


def test_bold_that_follows_the_film_is_predicted_and_subjects_differ(store):
    dataset, models = _models(store)
    found = models.of([4, 5])
    assert found.subjects == ["s5", "s6"]
    assert np.array_equal(np.isnan(found.mean), ~dataset.cortex)
    assert np.nanmean(found.mean) > 0.1
    assert np.nanmax(abs(found.r[0] - found.r[1])) > 0.1
    shifted = _models(store, "data.lag=1")[1].of([4])
    assert np.nanmean(found.r[0]) > np.nanmean(shifted.r[0]) + 0.05


def test_a_subject_with_too_few_runs_is_named_before_the_work_begins(store):
    with pytest.raises(UserError, match=r"`subjects` s3: .* 1 clips of the film"):
        _models(store)[1].of([4, 2], progress=lambda *_: pytest.fail("it has begun"))


def test_one_hemisphere_is_asked_for(store):
    found = _models(store, "data.hemispheres=R")[1].of([4])
    assert np.isnan(found.r[0, 0]).all()
    assert not np.isnan(found.r[0, 1]).all()


def test_delays_longer_than_a_scene_are_refused(store):
    with pytest.raises(UserError, match="has no second of test scenes with all clips of `delays` 0 to 20"):
        _models(store, delays=(0, 20))
