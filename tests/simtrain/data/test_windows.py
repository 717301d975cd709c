from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from simtrain.config.composition import load
from simtrain.config.schema import PretrainConfig
from simtrain.data.dataset import Dataset, Embedding, open_dataset, resolve
from simtrain.data.experiments import experiments_in
from simtrain.data.windows import (
    SAMPLE,
    Windows,
    by_hemisphere,
    clip_split,
    find_windows,
    select,
    training,
    validation,
)

GUARD = 4  # the code of film between sets that is in none


@st.composite
def _films(draw):
    """A data set of made-up tables with one or two embeddings that have gaps."""
    subjects, movies, seconds = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(8, 20))
    table = hnp.arrays(np.int8, (movies, seconds), elements=st.sampled_from([0, 1, 1, 1, 2]), fill=st.just(1))
    embeddings = []
    for name in ("video_a", "audio_b")[: draw(st.integers(1, 2))]:
        values = np.zeros((movies, seconds, 2), np.float32)
        gaps = draw(hnp.arrays(bool, values.shape, elements=st.integers(0, 9).map(lambda n: n == 0)))
        values[gaps] = np.nan
        embeddings.append(Embedding(name, values, draw(st.integers(1, 4))))
    segment = draw(table)
    sets = hnp.arrays(
        np.int8, segment.shape, elements=st.sampled_from([0, 1, 1, 1, 2, GUARD]), fill=st.just(1)
    )
    complete = draw(hnp.arrays(bool, (subjects, movies)))
    volumes = draw(hnp.arrays(np.int64, movies, elements=st.integers(6, seconds)))
    codes = st.sampled_from([1, 1, 1, 1, 2, -1, 0])
    run = draw(hnp.arrays(np.int16, (subjects, movies, seconds), elements=codes, fill=st.just(1)))
    run[~complete] = 0
    run[:, np.arange(seconds) >= volumes[:, None]] = 0
    dataset = Dataset(
        path=Path(),
        subjects=[f"s{n}" for n in range(subjects)],
        subject_split=draw(hnp.arrays(np.int8, subjects, elements=st.integers(1, 3))),
        volumes=volumes,
        complete=complete,
        run=run,
        reach=draw(hnp.arrays(np.int64, movies, elements=st.sampled_from([0, 0, 2, 3, 5]))),
        film=np.arange(movies),
        segment=segment,
        scene_split=np.where(segment == 0, 0, draw(sets)).astype(np.int8),
        cortex=np.ones((2, 5), bool),
        lag=6,
        encoders={},
        identity={},
        view=xr.Dataset(),
    )
    return dataset, embeddings, draw(st.integers(1, 4)), draw(st.integers(0, 7))


def may_be_used(dataset, subject, movie, rows, lag, own):
    """Whether rows are of one scan, and share no volume with any that answers film held out from a set."""
    codes = {int(code) for code in dataset.run[subject, movie, rows]}
    held = {1: (2, 3), 2: (3,)}.get(own, ())
    near = {int(row) + by for row in rows for by in range(1 - dataset.reach[movie], dataset.reach[movie])}
    film = [row - lag for row in near if 0 <= row - lag < dataset.segment.shape[1]]
    return len(codes) == 1 and min(codes) > 0 and not any(dataset.scene_split[movie, s] in held for s in film)


def _brute_force(dataset, embeddings, frames, lag):
    length = max(frames, *(embedding.window for embedding in embeddings))
    subjects, movies = dataset.complete.shape
    for subject in range(subjects):
        for movie in range(movies):
            for second in range(int(dataset.volumes[movie]) - frames + 1):
                clip = second - lag
                if clip < 0 or not dataset.complete[subject, movie]:
                    continue
                seconds = range(clip, clip + length)
                if seconds[-1] >= dataset.segment.shape[1]:
                    continue
                segments = {int(dataset.segment[movie, s]) for s in seconds}
                scenes = {int(dataset.scene_split[movie, s]) for s in seconds}
                features = [embedding.values[movie, clip] for embedding in embeddings]
                if len(segments) > 1 or len(scenes) > 1 or 0 in segments | scenes or np.isnan(features).any():
                    continue
                if GUARD in scenes:
                    continue
                own = scenes.pop()
                if may_be_used(dataset, subject, movie, range(second, second + frames), lag, own):
                    yield subject, movie, second, clip, int(dataset.subject_split[subject]), own


@settings(max_examples=150)
@given(_films())
def test_windows_are_those_that_the_rules_allow(films):
    dataset, embeddings, frames, lag = films
    found = find_windows(dataset, clip_split(dataset, embeddings), frames, lag)
    assert found.tolist() == list(_brute_force(dataset, embeddings, frames, lag))


def test_a_clip_must_end_before_the_table_does(store):
    dataset = replace(open_dataset(store), segment=np.ones((2, 64)), scene_split=np.ones((2, 64)))
    clips = clip_split(dataset, [Embedding("video_a", np.zeros((2, 64, 1)), window=4)])
    assert clips.tolist() == [[1] * 61 + [0] * 3] * 2


def test_windows_of_a_store(store):
    dataset = open_dataset(store)
    embeddings = [dataset.embedding("video_shapes"), dataset.embedding("audio_tones")]
    found = find_windows(dataset, clip_split(dataset, embeddings), frames=3, lag=6)
    # alpha [2, 42) has 38 clips of 3 s, gamma [1, 40) 37; s3 has no run of gamma.
    assert len(training(found)) == 3 * 38 + 2 * 37
    assert len(validation(found)) == 38 + 37
    assert not np.isin(found[found["movie"] == 0]["clip"], range(54, 64)).any(), "test-retest is in no window"
    assert set(np.unique(training(found)["subject"])) == {0, 1, 2}


def test_experiments_never_share_a_window_with_training_or_validation(store):
    dataset = open_dataset(store)
    clips = clip_split(dataset, [dataset.embedding("video_shapes")])
    found = find_windows(dataset, clips, frames=3, lag=6)
    seen = set(np.concatenate([training(found), validation(found)]).tolist())
    for sets in experiments_in("test").values():
        windows = set(select(found, *sets).tolist())
        assert windows
        assert not windows & seen


@pytest.mark.parametrize("frames", [3, 8])
def test_bold_of_held_out_scenes_is_in_no_window_of_training_or_validation(store, frames):
    dataset = open_dataset(store)
    scene_split = dataset.scene_split.copy()
    scene_split[0, 20:42] = 3  # the second half of a film clip is held out, as in HCP's catalog
    dataset = replace(dataset, scene_split=scene_split)
    clips = clip_split(dataset, [dataset.embedding("video_shapes")])
    found = find_windows(dataset, clips, frames, lag=6)

    def bold(windows):
        seconds = windows["second"][:, None] + np.arange(frames)
        return set(zip(windows["movie"].repeat(frames), seconds.ravel(), strict=True))

    held_out = bold(found[found["scene_split"] == 3])
    assert len(held_out) > 20
    assert not held_out & bold(np.concatenate([training(found), validation(found)]))


def test_both_hemispheres_double_every_window(store):
    dataset = open_dataset(store)
    found = find_windows(dataset, clip_split(dataset, [dataset.embedding("video_shapes")]), 3, 6)[:10]
    samples = by_hemisphere(found)
    assert samples.dtype == SAMPLE
    assert samples.tolist() == [(*window, hemisphere) for window in found.tolist() for hemisphere in (0, 1)]


def test_a_configuration_has_the_windows_of_its_embeddings_frames_and_lag(store):
    dataset = open_dataset(store)
    used = Windows.of(dataset, resolve(load("demo", ["data.frames=4"], "fmri,video"), dataset))
    assert list(used.embeddings) == ["video"]
    clips = clip_split(dataset, [dataset.embedding("video_shapes")])
    assert np.array_equal(used.clips, clips)
    assert np.array_equal(used.find(), find_windows(dataset, clips, frames=4, lag=6))
    assert np.array_equal(used.find(-2), find_windows(dataset, clips, frames=4, lag=-2))
    alone = Windows.of(dataset, resolve(load("demo", kind=PretrainConfig), dataset))
    assert not alone.embeddings
    assert np.array_equal(alone.clips, clip_split(dataset, []))
