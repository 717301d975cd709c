"""Encoding models against scikit-learn's ridge, vertex by vertex and fold by fold."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from plain_ridge import plain_ridge
from scipy.stats import zscore
from sklearn.preprocessing import StandardScaler

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.encoding.models import EncodingModels, EncodingSettings
from simtrain.encoding.noise_ceiling import explainable_variance

CPU = torch.device("cpu")


def _models(store, *overrides, delays=(-1, 1), modalities="fmri,video", **settings):
    dataset = open_dataset(store)
    config = resolve(load("demo", list(overrides), modalities), dataset)
    return dataset, EncodingModels(dataset, config, EncodingSettings(delays, **settings), CPU)


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
        predicted, best, _ = plain_ridge(x, fold, new, y)
        assert found.penalty[0, 0, 1, vertex] == pytest.approx(best)
        assert found.maps["r"][0, 1, vertex] == pytest.approx(np.corrcoef(predicted, true)[0, 1], abs=1e-4)


def test_bold_that_follows_the_film_is_predicted_and_subjects_differ(store):
    dataset, models = _models(store)
    found = models.of([4, 5])
    assert found.subjects == ["s5", "s6"]
    assert np.array_equal(np.isnan(found.means["r"]), ~dataset.cortex)
    assert np.nanmean(found.means["r"]) > 0.1
    assert np.nanmax(abs(found.maps["r"][0] - found.maps["r"][1])) > 0.1
    shifted = _models(store, "data.lag=1")[1].of([4])
    assert np.nanmean(found.maps["r"][0]) > np.nanmean(shifted.maps["r"][0]) + 0.05


def test_a_subject_with_too_few_runs_is_named_before_the_work_begins(store):
    with pytest.raises(UserError, match=r"`subjects` s3: .* 1 clips of the film"):
        _models(store)[1].of([4, 2], progress=lambda *_: pytest.fail("it has begun"))


def test_one_hemisphere_is_asked_for(store):
    found = _models(store, "data.hemispheres=R")[1].of([4])
    assert np.isnan(found.maps["r"][0, 0]).all()
    assert not np.isnan(found.maps["r"][0, 1]).all()


def test_seconds_without_features_are_left_out_with_those_whose_delays_reach_them(store):
    dataset = open_dataset(store)
    config = resolve(load("demo", [], "fmri,video"), dataset)
    whole = EncodingModels(dataset, config, EncodingSettings((-1, 1)), CPU).of([4])
    dataset.embedding("video_shapes").values[0, [20, 48]] = np.nan
    holed = EncodingModels(dataset, config, EncodingSettings((-1, 1)), CPU).of([4])
    assert (whole.seconds - holed.seconds).tolist() == [[3, 3]]
    assert not np.isnan(holed.maps["r"][0][dataset.cortex]).any()


def test_delays_longer_than_a_scene_are_refused(store):
    with pytest.raises(UserError, match="has no second of test scenes with all clips of `delays` 0 to 20"):
        _models(store, delays=(0, 20))


def test_measures_of_a_hemisphere_are_those_of_its_prediction(store):
    found = _models(store, modalities="fmri,video,audio_tones", partition=True, shifts=100)[1].of([4, 5])
    assert found.spaces == ["video_shapes", "audio_tones"]
    whole = found.maps["unique_video_shapes"] + found.maps["unique_audio_tones"] + found.maps["shared"]
    np.testing.assert_allclose(whole, found.maps["r2"], atol=1e-5)
    alone = _models(store, modalities="fmri,audio_tones", shifts=0)[1].of([4, 5])
    lost = found.maps["r2"] - alone.maps["r2"]
    np.testing.assert_allclose(lost, found.maps["unique_video_shapes"], atol=1e-4)
    assert "p" not in alone.maps
    p = found.means["p"][~np.isnan(found.means["p"])]
    assert p.min() == pytest.approx(1 / 63)  # 7 and 9 s have 62 shifts
    assert found.notes == [f"no noise ceiling: no two runs of {store} show a clip named test-retest"]


def test_a_repeated_clip_gives_a_ceiling_to_those_who_saw_it_twice(store):
    dataset = open_dataset(store)
    segment = dataset.segment.copy()
    segment[1, 55:59] = 5
    again = replace(dataset, segment=segment)
    config = resolve(load("demo", ["data.lag=2"], "fmri,video"), again)
    found = EncodingModels(again, config, EncodingSettings((0, 0)), CPU).of([4])
    vertex, reader = np.flatnonzero(dataset.cortex[0])[1234], BoldReader(store)
    runs = [
        reader.read(np.array([[4, m, 0, 0]]), n)[0, :, vertex].astype(float) for m, n in ((0, 64), (1, 61))
    ]
    repeats = np.stack([zscore(runs[0])[58:62], zscore(runs[1])[57:61]])[..., None]
    expected = explainable_variance(repeats)[0]
    assert found.maps["explainable_variance"][0, 0, vertex] == pytest.approx(expected, abs=1e-4)
    assert not found.notes
