"""Other splits of one opened store."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simdata.common.errors import UserError
from simtrain.config.composition import load
from simtrain.data import windows
from simtrain.data.dataset import SPLITS, open_dataset, resolve
from simtrain.data.moments import find_moments
from simtrain.data.sets import with_splits
from simtrain.data.windows import TEST, VAL, Windows

SUBJECTS = ["s1", "s2", "s3", "s4", "s5", "s6"]
GUARD = 4  # the code of film that keeps sets apart
CLIPS = ["alpha", "beta", "gamma", "delta"]


@pytest.fixture(scope="module")
def dataset(store):
    return open_dataset(store)


def test_its_own_splits_change_nothing(dataset):
    assert with_splits(dataset, None) is dataset
    again = with_splits(dataset, dataset.splits)
    assert again.splits == again.given_splits == dataset.splits
    assert again.identity == dataset.identity
    np.testing.assert_array_equal(again.subject_split, dataset.subject_split)
    np.testing.assert_array_equal(again.scene_split, dataset.scene_split)


def test_sets_are_those_of_the_splits_and_what_was_read_is_shared(dataset):
    divided = with_splits(dataset, {"subjects": {"train": ["s6"], "val": ["s1"]}, "scenes": {}})
    assert [SPLITS[code] for code in divided.subject_split] == [
        "val",
        "none",
        "none",
        "none",
        "none",
        "train",
    ]
    assert divided.identity["subjects"]["s6"] == "train"
    assert set(np.unique(divided.scene_split)) == {0, 1}
    assert divided.identity["scenes"] != dataset.identity["scenes"]
    assert divided.embedding("video_shapes") is dataset.embedding("video_shapes")
    halves = with_splits(dataset, "halves")
    assert halves.identity["subjects"] == dataset.identity["subjects"], "what is left out stays"
    halves = with_splits(dataset, "halves", divided.splits)
    assert halves.identity["subjects"] == divided.identity["subjects"]


def test_splits_of_other_data_are_refused(dataset):
    with pytest.raises(UserError, match=r"published-code: not for the catalog small: .*'100610' is no id"):
        with_splits(dataset, "published-code")
    with pytest.raises(UserError, match=r"`splits`: .*small\.zarr has none of the 1 subjects"):
        with_splits(dataset, {"subjects": {"test": ["s9"]}})
    with pytest.raises(UserError, match=r"`splits` is not valid:\n  subjects\.test: listed twice: s1"):
        with_splits(dataset, {"subjects": {"test": ["s1", "s1"]}})


def test_an_experiment_without_a_set_says_which(dataset):
    used = Windows.of(with_splits(dataset, "whole-clips"), resolve(load("demo"), dataset))
    assert list(used.experiments(None, 6)) == ["new-subjects"]
    with pytest.raises(UserError, match=r"no windows for new-scenes at a lag of 6 s: no scene is in test"):
        used.experiments("new-scenes", 6)
    everyone = with_splits(dataset, {"subjects": {}, "scenes": {"clips": {"test": ["beta"]}}})
    used = Windows.of(everyone, resolve(load("demo"), everyone))
    assert list(used.experiments(None, 6)) == ["new-scenes"]
    with pytest.raises(
        UserError, match=r"no windows for both at a lag of 6 s: no subject with a run is in test"
    ):
        used.experiments("both", 6)


@st.composite
def any_splits(draw):
    by_subject = draw(st.lists(st.sampled_from([*SPLITS]), min_size=6, max_size=6))
    of = {split: [s for s, own in zip(SUBJECTS, by_subject, strict=True) if own == split] for split in SPLITS}
    subjects = {"val": of["val"], "test": of["test"]} | draw(st.sampled_from([{}, {"train": of["train"]}]))
    low, high = sorted(draw(st.lists(st.integers(1, 19), min_size=2, max_size=2, unique=True)))
    order = draw(st.permutations(["train", "val", "test"]))
    cuts = [[0, low / 20], [low / 20, high / 20], [high / 20, 1]]
    clips = draw(st.dictionaries(st.sampled_from(CLIPS), st.sampled_from(SPLITS[1:])))
    named = {split: [clip for clip, own in clips.items() if own == split] for split in SPLITS[1:]}
    return {
        "subjects": subjects,
        "scenes": {
            "fractions": dict(zip(order, cuts, strict=True)),
            "clips": named,
            "guard": draw(st.integers(0, 8)),
        },
    }


@settings(max_examples=60, deadline=None)
@given(splits=any_splits())
def test_no_training_window_has_a_subject_or_a_second_of_another_set(dataset, splits):
    """Neither in its clip, nor in the film that its BOLD answers, and none of the guard.

    Validation has none of the test set, nor of the guard.
    """
    divided = with_splits(dataset, splits)
    used = Windows.of(divided, resolve(load("demo"), divided))
    found = used.find()
    assert (found["subject_split"] == divided.subject_split[found["subject"]]).all()
    for moments in ("any", "shown"):
        chosen = windows.training(find_moments(used, moments))
        clips = chosen["clip"][:, None] + np.arange(3)
        answered = np.maximum(chosen["second"] - used.lag, 0)[:, None] + np.arange(used.frames)
        for seconds in (clips, answered):
            assert not np.isin(
                divided.scene_split[chosen["movie"][:, None], seconds], (VAL, TEST, GUARD)
            ).any()
    for chosen, held_out in (
        (windows.training(found), (0, VAL, TEST, GUARD)),
        (windows.validation(found), (0, TEST, GUARD)),
    ):
        seconds = chosen["clip"][:, None] + np.arange(max(3, used.frames))
        assert not np.isin(divided.scene_split[chosen["movie"][:, None], seconds], held_out).any()
        assert not np.isin(divided.subject_split[chosen["subject"]], held_out).any()
    chosen = windows.training(found)
    delayed = chosen[windows.within_scene(divided, chosen["movie"], chosen["clip"], -1, 3)]  # as ridge takes
    seconds = delayed["clip"][:, None] + np.arange(-1, 4)
    assert (divided.scene_split[delayed["movie"][:, None], seconds] == windows.TRAIN).all()


def test_film_of_the_guard_is_in_no_window_and_no_candidate(dataset):
    """Not even where film clips of no set are candidates, as for the published code."""
    halves = {"train": [0.0, 0.5], "test": [0.5, 1.0]}
    plain, guarded = (
        with_splits(dataset, {"scenes": {"fractions": halves, "guard": guard}}) for guard in (0, 6)
    )
    config = resolve(load("demo"), dataset)
    guard = guarded.scene_split == GUARD
    assert guard.any()
    assert not (guard & (plain.scene_split == 0)).any()
    for in_no_set in (False, True):
        found = Windows.of(guarded, config).experiment("new-scenes", 6, in_no_set=in_no_set)
        seconds = found["clip"][:, None] + np.arange(3)
        assert len(found)
        assert not guard[found["movie"][:, None], seconds].any()
        before = Windows.of(plain, config).experiment("new-scenes", 6, in_no_set=in_no_set)
        fields = ["subject", "movie", "clip"]
        assert set(found[fields].tolist()) < set(before[fields].tolist())


def test_whole_clips_that_a_guard_trims_are_not_parts_of_clips(dataset):
    splits = {"scenes": {"clips": {"test": ["beta"]}, "guard": 8}}
    guarded = with_splits(dataset, splits)
    assert (guarded.scene_split == GUARD).any()
    assert not windows.parts_clips(guarded)
