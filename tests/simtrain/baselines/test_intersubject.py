"""A window beside the mean of other subjects at the same moment, against plain loops over subjects."""

import numpy as np
import pytest
import torch

from simdata.common.errors import UserError
from simtrain.baselines.intersubject import Aligned, Seen, mean_of_others, others_of
from simtrain.baselines.scores import Scores
from simtrain.baselines.vertices import Volumes
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.windows import Windows, by_hemisphere, training, validation
from simtrain.models.main_axes import Axes

LAG = 6  # of the small store
SIDES = (0, 1)


@pytest.fixture(scope="module")
def dataset(store):
    return open_dataset(store)


@pytest.fixture(scope="module")
def config(dataset):
    return resolve(load("demo"), dataset)


@pytest.fixture(scope="module")
def windows(dataset, config):
    return Windows.of(dataset, config).find()


@pytest.fixture(scope="module")
def scores(dataset, config):
    columns = dataset.cortex.shape[1] * config.data.frames
    axes = torch.randn(1, 2, columns, generator=torch.Generator().manual_seed(0)) / columns**0.5
    some = Axes(torch.zeros(1, columns), axes, torch.ones(1, 2), torch.ones(1))
    return Scores(some, Volumes(dataset, config, torch.device("cpu")), config.data.frames)


@pytest.fixture(scope="module")
def of_moment(windows, scores):
    """(subject, movie, clip) -> scores of both hemispheres beside each other."""
    values = scores.of(by_hemisphere(windows, SIDES)).numpy().reshape(len(windows), -1)
    return dict(zip(map(tuple, windows[["subject", "movie", "clip"]].tolist()), values, strict=True))


def test_in_training_nobody_is_among_the_others(dataset, windows, scores, of_moment):
    aligned = Aligned.of(training(windows), validation(windows), scores, SIDES, dataset.segment.shape)
    both = np.concatenate([aligned.windows, aligned.held_out])
    assert {0, 1, 2, 3} == set(both["subject"].tolist())
    expected = []
    for subject, movie, clip in both[["subject", "movie", "clip"]].tolist():
        others = [one for one in (0, 1, 2) if one != subject and dataset.complete[one, movie]]
        expected.append(np.mean([of_moment[one, movie, clip] for one in others], axis=0))
    expected = np.array(expected) / np.std(expected[: len(aligned.windows)], ddof=1)
    samples = by_hemisphere(both, SIDES)
    found = aligned.feed[samples].numpy()
    np.testing.assert_allclose(found[:, 2:], expected.repeat(2, axis=0), atol=1e-4)
    np.testing.assert_allclose(found[:, :2], scores.of(samples), atol=1e-5)


def test_without_a_second_training_subject_it_is_refused(dataset, windows, scores):
    alone = training(windows)
    alone = alone[alone["subject"] == 0]
    with pytest.raises(UserError, match="intersubject: no two training subjects"):
        Aligned.of(alone, alone[:0], scores, SIDES, dataset.segment.shape)


@pytest.mark.parametrize(("tested", "others"), [([4, 5], [0, 1, 2]), ([0, 1, 2], [3, 4, 5])])
def test_in_tests_clips_are_the_mean_of_subjects_that_are_not_tested(
    dataset, config, windows, scores, of_moment, tested, others
):
    assert others_of(dataset, np.array(tested)).tolist() == others
    some = windows[np.isin(windows["subject"], tested)][::17]
    found = mean_of_others(some, scores, dataset, config.data).numpy()
    for movie, clip in np.unique(some[["movie", "clip"]]).tolist():
        those = [one for one in others if dataset.complete[one, movie]]
        expected = np.mean([of_moment[one, movie, clip] for one in those], axis=0)
        np.testing.assert_allclose(found[movie, clip], expected, atol=1e-4)
    asked = np.zeros(found.shape[:2], bool)
    asked[some["movie"], some["clip"]] = True
    np.testing.assert_array_equal(np.isfinite(found).all(axis=2), asked)


def test_a_clip_that_no_other_subject_has_seen_is_refused():
    seen = Seen(type("Learner", (), {"window": 3}), torch.full((1, 4, 2), torch.nan))
    with pytest.raises(UserError, match="no subject but those tested has BOLD of a tested clip"):
        seen.embed_clips(np.array([0]), np.array([2]))
