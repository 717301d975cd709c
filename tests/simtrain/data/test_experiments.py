"""Experiments in the test set and in that of validation: who and what is in them."""

import numpy as np
import pytest

from simdata.common.errors import UserError
from simtrain.config.composition import load
from simtrain.data.dataset import SPLITS, open_dataset, resolve
from simtrain.data.experiments import EXPERIMENTS, experiments_in, file_of
from simtrain.data.sets import with_splits
from simtrain.data.windows import Windows, training, validation

WITH_VALIDATION = {
    "subjects": {"val": ["s3", "s4"], "test": ["s5", "s6"]},
    "scenes": {"clips": {"val": ["gamma"], "test": ["alpha"]}},
}


@pytest.fixture(scope="module")
def used(store):
    dataset = with_splits(open_dataset(store), WITH_VALIDATION)
    return Windows.of(dataset, resolve(load("demo"), dataset))


def _places(windows):
    return set(windows[["subject", "movie", "clip"]].tolist())


def test_those_of_validation_are_what_training_validates_on(used):
    found = used.experiments(None, 6, "val")
    assert tuple(found) == EXPERIMENTS
    together = np.concatenate(list(found.values()))
    assert _places(together) == _places(validation(used.find()))
    assert len(together) == len(_places(together))


@pytest.mark.parametrize(("split", "subjects", "clip"), [("val", {2, 3}, 3), ("test", {4, 5}, 1)])
def test_each_is_of_the_subjects_and_scenes_that_are_held_out_in_its_set(used, split, subjects, clip):
    found = used.experiments(None, 6, split)
    clips = {name: set(used.dataset.segment[of["movie"], of["clip"]]) for name, of in found.items()}
    # s3 lacks the run of gamma.
    of_both = {one for one in subjects if used.dataset.complete[one, 0 if clip == 1 else 1]}
    assert {name: set(of["subject"]) for name, of in found.items()} == {
        "new-subjects": subjects,
        "new-scenes": {0, 1},
        "both": of_both,
    }
    assert clips == {"new-subjects": {2, 4}, "new-scenes": {clip}, "both": {clip}}


def test_no_two_sets_share_a_window(used):
    of_sets = [
        _places(np.concatenate(list(used.experiments(None, 6, split).values()))) for split in SPLITS[1:]
    ]
    assert of_sets[0] == _places(training(used.find()))
    assert sum(map(len, of_sets)) == len(set.union(*of_sets))


def test_nothing_is_held_out_of_the_training_set():
    assert list(experiments_in("train")) == ["seen"]
    assert file_of("retrieval", "test") == "retrieval"
    assert file_of("retrieval", "val") == "retrieval-val"


def test_a_store_without_validation_says_what_to_do(store):
    dataset = with_splits(open_dataset(store), {"subjects": {"test": ["s5"]}, "scenes": {}})
    with pytest.raises(UserError, match="no subject with a run is in val and no scene is in val") as error:
        Windows.of(dataset, resolve(load("demo"), dataset)).experiments(None, 6, "val")
    assert "`simdata resplit`" in str(error.value)
    assert "nothing may be chosen by it" in str(error.value)
