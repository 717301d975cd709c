"""``data.moments``, beside loops over seconds written from the rule, and from the published sampling."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from simtrain import batches
from simtrain.baselines.experiments import Baselines, BaselineSettings
from simtrain.config.composition import load
from simtrain.config.schema import PretrainConfig
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.moments import find_moments
from simtrain.data.windows import Windows, clip_split, covered, training, validation
from simtrain.training.preparation import find_samples

from .test_windows import GUARD, _films, may_be_used

TRAIN, TEST, LAG = 1, 3, 6


def _used(dataset, embeddings, frames, lag):
    clips, span = clip_split(dataset, embeddings), covered(frames, embeddings)
    named = {embedding.variable: embedding for embedding in embeddings}
    return Windows(dataset, named, clips, np.zeros(clips.shape, bool), frames, lag, span, span)


def _brute_force(dataset, embeddings, frames, lag, moments):
    length = max(frames, *(embedding.window for embedding in embeddings))

    def scene(movie, second):
        return int(dataset.scene_split[movie, second]) if 0 <= second < dataset.segment.shape[1] else 0

    for subject, movie in np.argwhere(dataset.complete).tolist():
        for second in range(int(dataset.volumes[movie]) - frames + 1):
            clip = max(0, second - lag)
            if np.isnan([embedding.values[movie, clip] for embedding in embeddings]).any():
                continue
            held = [*range(clip, clip + length), *range(second - lag, second - lag + frames)]
            if moments == "shown":
                shown = range(second, second + frames)
                held += shown
                if len({(scene(movie, s), int(dataset.segment[movie, s])) for s in shown}) > 1:
                    continue
                if not scene(movie, second):
                    continue
            sets = {scene(movie, s) for s in held} - {0}
            if len(sets) < 2 and GUARD not in sets:
                split = sets.pop() if sets else TRAIN
                if may_be_used(dataset, subject, movie, range(second, second + frames), lag, split):
                    yield subject, movie, second, clip, int(dataset.subject_split[subject]), split


@settings(max_examples=30)
@given(_films())
def test_moments_are_those_that_the_rule_allows(films):
    dataset, embeddings, frames, lag = films
    used = _used(dataset, embeddings, frames, lag)
    for moments in ("any", "shown"):
        found = find_moments(used, moments)
        assert found.tolist() == list(_brute_force(dataset, embeddings, frames, lag, moments))
    assert np.array_equal(find_moments(used, "clips"), used.find())


@settings(max_examples=30)
@given(_films())
def test_no_training_window_shares_film_or_volumes_with_a_held_out_one(films):
    dataset, embeddings, frames, lag = films
    used = _used(dataset, embeddings, frames, lag)
    tested = used.find()
    tested = tested[tested["scene_split"] != TRAIN]

    def seconds(windows, field, length):
        at = windows[field][:, None] + np.arange(length)
        return set(zip(windows["movie"].repeat(length).tolist(), at.ravel().tolist(), strict=True))

    for moments in ("any", "shown"):
        trained = training(find_moments(used, moments))
        assert not seconds(trained, "second", frames) & seconds(tested, "second", frames)
        assert not seconds(trained, "clip", used.span) & seconds(tested, "clip", used.span)


@pytest.fixture(scope="module")
def dataset(store):
    return open_dataset(store)


def _config(dataset, moments, kind=None):
    given = [f"data.moments={moments}", "train.batch_size=8"]
    return resolve(load("demo", given) if kind is None else load("demo", given, kind=kind), dataset)


def test_any_is_as_published_where_no_scene_is_held_out(dataset):
    """The code draws a frame from 0 on, and takes the clip of max(0, frame - lag)."""
    whole = replace(dataset, scene_split=np.where(dataset.scene_split > 0, TRAIN, 0).astype(np.int8))
    config = _config(whole, "any")
    found = training(find_moments(Windows.of(whole, config), "any"))
    for subject, movie in ((0, 0), (1, 1)):
        own = found[(found["subject"] == subject) & (found["movie"] == movie)]
        frames = range(int(whole.volumes[movie]) - 3 + 1)
        assert own["second"].tolist() == list(frames)
        assert own["clip"].tolist() == [max(0, frame - LAG) for frame in frames]


def test_shown_is_as_published_for_halves_of_clips(dataset):
    """The code draws a frame from a clip's first second to three before its half, whatever is then on."""
    start, stop = 2, 41  # of the clip alpha, its last second too
    half = (start + stop) // 2
    scenes = np.zeros_like(dataset.scene_split)
    scenes[0, start:half], scenes[0, half : stop + 1] = TRAIN, TEST
    halves = replace(dataset, scene_split=scenes)
    found = training(find_moments(Windows.of(halves, _config(halves, "shown")), "shown"))
    own = found[found["subject"] == 0]
    assert own["second"].tolist() == list(range(start, half - 3 + 1))
    assert own["clip"].tolist() == [max(0, second - LAG) for second in range(start, half - 3 + 1)]


@pytest.mark.parametrize("moments", ["any", "shown"])
def test_training_and_validation_take_them_and_tests_do_not(dataset, store, tmp_path, moments):
    config = _config(dataset, moments)
    used = Windows.of(dataset, config)
    found = find_moments(used, moments)
    assert len(found) != len(used.find())
    samples, held_out = find_samples(used, config)
    assert (len(samples), len(held_out)) == (2 * len(training(found)), 2 * len(validation(found)))
    pretrained = _config(dataset, moments, PretrainConfig)
    alone = Windows.of(dataset, pretrained)
    assert len(find_samples(alone, pretrained)[0]) == 2 * len(training(find_moments(alone, moments)))
    for split, expected in (("train", training(found)), ("val", validation(found))):
        assert len(batches(store, split, batch_size=8, ico=1, config=config).samples) == 2 * len(expected)
    clips = used.experiments("new-subjects", LAG)["new-subjects"]
    assert len(batches(store, "new-subjects", batch_size=8, ico=1, config=config).samples) == 2 * len(clips)

    baselines = Baselines(dataset, config, BaselineSettings(), torch.device("cpu"))
    assert len(baselines._of_pca) == len(training(found))
    assert len(baselines._training) == len(training(used.find()))
