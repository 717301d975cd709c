from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simdata.common.errors import UserError
from simtrain.data.windows import WINDOW
from simtrain.retrieval.pools import draw_pools, gap
from simtrain.retrieval.protocol import Protocol

PROTOCOL = Protocol(pool=8, clips=30, draws=2, lag=6, negatives="same-movie", shuffle=False, seed=0)


def windows_of(seconds, subjects=(4, 7), movies=(0, 1, 2)):
    """Windows of every subject in every movie at ``seconds``, as `find_windows` orders them."""
    found = [
        (subject, movie, second, second - 6, 3, 1)
        for subject in subjects
        for movie in movies
        for second in seconds
    ]
    return np.array(found, WINDOW)


def draw(windows, seed=0, apart=3, **changes):
    rng, protocol = np.random.default_rng(seed), replace(PROTOCOL, **changes)
    return draw_pools(rng, windows, film_clip(windows), protocol, apart, "new-subjects")


def film_clip(windows):
    """Two film clips, of ten seconds, and the rest."""
    return np.digitize(windows["clip"], [10])


def candidates(windows, true, kind, apart=3):
    """All that may stand against a window, written out."""
    found, clip = [], film_clip(windows)
    for position, other in enumerate(windows):
        same_movie = other["movie"] == windows[true]["movie"]
        far = same_movie and abs(int(other["second"]) - int(windows[true]["second"])) >= apart
        may = {
            "same-movie": far,
            "same-clip": far and clip[position] == clip[true],
            "other-clips": far and clip[position] != clip[true],
            "cross-movie": not same_movie,
        }
        if other["subject"] == windows[true]["subject"] and may[kind]:
            found.append(position)
    return found


@settings(max_examples=30)
@given(
    st.integers(0, 99),
    st.sampled_from(["same-movie", "cross-movie", "other-clips", "same-clip"]),
    st.integers(2, 12),
    st.integers(3, 5),
)
def test_drawn_pools_follow_the_rules(seed, kind, pool, apart):
    windows, pool = windows_of(range(6, 26)), min(pool, {"same-clip": 2, "other-clips": 7}.get(kind, 12))
    pools = draw(windows, seed, apart, negatives=kind, pool=pool)
    assert len({true for true, *_ in pools}) == 30
    for true, *negatives in pools:
        assert len(set(negatives)) == len(negatives) == pool - 1
        assert set(negatives) <= set(candidates(windows, true, kind, apart))


@settings(max_examples=30)
@given(st.sets(st.integers(6, 60), min_size=25), st.integers(2, 8), st.integers(3, 5))
def test_the_nearest_are_those_outside_the_gap(seconds, pool, apart):
    windows = windows_of(sorted(seconds), movies=(0, 1))
    for true, *negatives in draw(windows, apart=apart, negatives="nearest", pool=pool):
        second = windows["second"].tolist()
        expected = sorted(
            candidates(windows, true, "same-movie", apart),
            key=lambda position: (abs(second[position] - second[true]), second[position]),
        )
        assert negatives == expected[: pool - 1]


def test_the_nearest_of_an_unbroken_movie_are_three_to_five_seconds_away():
    windows = windows_of(range(6, 46), movies=(0,))
    for true, *negatives in draw(windows, negatives="nearest", pool=7, clips=80):
        moved = sorted(int(windows[n]["second"]) - int(windows[true]["second"]) for n in negatives)
        if 5 <= windows[true]["second"] - 6 < 35:
            assert moved == [-5, -4, -3, 3, 4, 5]


def test_the_pool_of_the_whole_movie_is_all_of_it_but_three_seconds():
    windows = windows_of([*range(6, 20), 30, 31])
    pools = draw(windows, pool="movie")
    for true, *negatives in pools:
        assert negatives == candidates(windows, true, "same-movie")
    assert len({len(pool) for pool in pools}) > 1


def test_the_gap_grows_with_what_a_window_covers():
    assert gap(PROTOCOL, 3) == 3
    assert gap(PROTOCOL, 1) == 3
    assert gap(PROTOCOL, 5) == 5
    assert gap(replace(PROTOCOL, average_windows=4), 3) == 6


def test_another_gap_takes_the_place_of_what_a_window_covers():
    assert gap(replace(PROTOCOL, gap=4), 3) == 4
    assert gap(replace(PROTOCOL, gap=1), 3) == 1
    assert "same-movie negatives, gap of 4 s, lag 6 s" in str(replace(PROTOCOL, gap=4))
    with pytest.raises(UserError, match="gap: 0 is less than 1"):
        replace(PROTOCOL, gap=0)


def test_clips_of_runs_are_of_each_run_and_of_each_of_its_film_clips():
    """The film clips are of 10 and of 20 windows, and drawn as often."""
    windows = windows_of(range(6, 36))
    pools = draw(windows, clips_of="run", clips=200, pool=4)
    true = np.array([pool[0] for pool in pools])
    runs = windows[true][["subject", "movie"]].reshape(6, 200)
    assert all(len(np.unique(of_run)) == 1 for of_run in runs)
    assert len(np.unique(runs)) == 6
    assert len(np.unique(true)) < len(true)
    np.testing.assert_allclose(film_clip(windows[true]).mean(), 0.5, atol=4 * 0.5 / np.sqrt(1200))
    for pool in pools:
        assert set(pool[1:]) <= set(candidates(windows, pool[0], "same-movie"))


def test_clips_of_runs_may_be_of_one_draw():
    assert replace(PROTOCOL, clips_of="run", draws=1).draws == 1
    assert "clips of each run" in str(replace(PROTOCOL, clips_of="run"))
    with pytest.raises(UserError, match="draws: 1 is less than 2"):
        replace(PROTOCOL, draws=1)
    with pytest.raises(UserError, match="clips_of: 'subject' is not one of experiment, run"):
        replace(PROTOCOL, clips_of="subject")


def test_a_kind_counts_for_its_modalities_and_a_name_before_it():
    protocol = replace(PROTOCOL, pool={"video": 64, "audio": 32, "video_clip": "movie"}, gap={"video": 4})
    assert (protocol.of("video_vjepa2").pool, protocol.of("video_vjepa2").gap) == (64, 4)
    assert protocol.of("video_clip").pool == "movie"
    assert replace(protocol, gap=None).of("audio") == replace(PROTOCOL, pool=32, joint="none")
    with pytest.raises(UserError, match="`gap` video=4: says nothing of audio"):
        protocol.of("audio")
    assert str(replace(protocol, gap={"video": 4, "audio": 1})).startswith(
        "test set, pool of 64 (video), 32 (audio) and movie (video_clip), same-movie negatives, "
        "gap of 4 s (video) and 1 s (audio), lag 6 s"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pool": {"video": 1}}, "pool: 1 is less than 2"),
        ({"pool": {"video": "film"}}, "pool: 'film' is neither"),
        ({"pool": {}}, "pool: is an empty mapping"),
        ({"gap": {"fmri": 3}}, "gap: 'fmri' is no modality of the stimulus"),
        ({"pool": {"Video 1": 3}}, "pool: 'Video 1' is no modality"),
        ({"pool": {"video": "movie", "audio": 3}, "negatives": "nearest"}, "`negatives` same-movie, or"),
    ],
)
def test_settings_by_modality_are_checked_one_by_one(changes, message):
    with pytest.raises(UserError, match=message):
        replace(PROTOCOL, **changes)


def test_too_few_negatives_are_explained():
    with pytest.raises(
        UserError, match=r"new-subjects: a window has only 5 same-movie .*use `pool` 6 or less"
    ):
        draw(windows_of(range(6, 16)))
    with pytest.raises(UserError, match="only 0 cross-movie negatives; use other `negatives` or"):
        draw(windows_of(range(6, 16), movies=(0,)), negatives="cross-movie")
    with pytest.raises(UserError, match="only 0 same-movie"):
        draw(windows_of(range(6, 8)), pool="movie")


@pytest.mark.parametrize(
    "changes",
    [
        {"pool": "movie", "negatives": "cross-movie"},
        {"pool": "movie", "negatives": "nearest"},
    ],
)
def test_a_protocol_that_contradicts_itself_is_refused(changes):
    with pytest.raises(UserError, match="give `negatives` same-movie"):
        replace(PROTOCOL, **changes)


def test_a_protocol_says_what_it_is():
    assert str(PROTOCOL) == "test set, pool of 8, same-movie negatives, lag 6 s, mean of hemispheres"
    other = replace(PROTOCOL, negatives="nearest", average_windows=4, average_subjects=True, shuffle=True)
    assert str(other) == (
        "test set, pool of 8, nearest negatives, lag 6 s, mean of hemispheres, mean of 4 s, mean of "
        "subjects, stimulus shuffled"
    )
    assert str(replace(PROTOCOL, pool="movie")) == (
        "test set, pool of the whole movie, lag 6 s, mean of hemispheres"
    )
    assert str(replace(PROTOCOL, hemispheres="each")).endswith("lag 6 s, each hemisphere")
    assert str(replace(PROTOCOL, hemispheres="R")).endswith("lag 6 s, hemisphere R")
