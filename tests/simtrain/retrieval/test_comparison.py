"""Paired differences of two retrieval tests, against pandas and scipy."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test

from simdata.common.errors import UserError
from simtrain.retrieval.comparison import SOME_WAYS, WINDOW, RankTable, compare_tests, sign_flips
from simtrain.retrieval.protocol import Protocol

POOL = 32


def _tested(name, rank, subjects=5, **changes):
    """A test of (draws, tested) ranks; the subjects take turns."""
    draws, tested = rank.shape
    draw, number = (of.ravel() for of in np.indices(rank.shape))
    windows = pd.DataFrame(
        {
            "experiment": "new-subjects",
            "direction": "fmri->video",
            "draw": draw,
            "subject": [f"s{one}" for one in number % subjects],
            "hemisphere": "mean",
            "movie": "MOVIE1",
            "clip": [f"clip {one}" for one in number // subjects % 6],
            "second": number + 6,
            "clip_second": number,
            "rank": rank.ravel(),
            "candidates": POOL,
            "pool": POOL,
        }
    )
    return RankTable.of(name, Protocol(**{"lag": 6, "draws": draws, "clips": tested, **changes}), windows)


@pytest.fixture
def two():
    rng = np.random.default_rng(0)
    rank = rng.integers(1, POOL + 1, (4, 60))
    return _tested("better", np.maximum(1, rank - rng.integers(0, 3, rank.shape))), _tested("worse", rank)


def test_differences_are_those_of_the_tables(two):
    metrics, subjects = compare_tests(*two, None)
    better, worse = (of.windows for of in two)
    hit = {1: (better["rank"] <= 1, worse["rank"] <= 1), 10: (better["rank"] <= 10, worse["rank"] <= 10)}
    for k, (one, other) in hit.items():
        (row,) = (row for row in metrics if row.figure == f"top-{k}")
        assert (row.one, row.other) == pytest.approx((one.mean(), other.mean()))
        assert row.difference == pytest.approx(one.mean() - other.mean())
        assert row.low < row.difference < row.high
        assert (row.subjects, row.clips) == (5, 6)
        assert row.p <= row.family_p
        own = (one.astype(float) - other.astype(float)).groupby(better["subject"]).mean()
        told = {row.subject: row.difference for row in subjects if row.figure == f"top-{k}"}
        assert told == pytest.approx(own.to_dict())


def test_the_other_way_round_only_signs_change(two):
    there, back = (compare_tests(*pair, None)[0] for pair in (two, two[::-1]))
    for one, other in zip(there, back, strict=True):
        assert one.difference == -other.difference
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
        assert (one.p, one.family_p) == (other.p, other.family_p)


def test_a_test_is_no_better_than_itself(two):
    metrics, _ = compare_tests(two[0], two[0], "new-subjects")
    assert all((row.difference, row.low, row.high, row.p, row.family_p) == (0, 0, 0, 1, 1) for row in metrics)


def _p(sums):
    (totals,) = abs(sign_flips(sums[None], 0))
    return np.mean(totals >= totals[0] - 1e-12)


@pytest.mark.parametrize("subjects", [2, 7, 12])
def test_p_is_that_of_all_ways_to_flip_signs(subjects):
    sums = np.random.default_rng(subjects).normal(0.5, 1, subjects)
    expected = permutation_test(
        (sums,),
        lambda x, axis: abs(x.sum(axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=np.inf,
    )
    assert _p(sums) == pytest.approx(expected.pvalue)


def test_p_of_many_subjects_comes_near_that_of_all_ways():
    sums = np.random.default_rng(3).normal(0.4, 1, 16)
    exact = permutation_test(
        (sums,),
        lambda x, axis: abs(x.sum(axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=2**16,
    ).pvalue
    assert _p(sums) == pytest.approx(exact, abs=4 * np.sqrt(exact / SOME_WAYS))
    assert _p(sums) == _p(sums)


def test_few_subjects_have_no_interval():
    rank = np.random.default_rng(0).integers(1, POOL, (2, 30))
    for subjects in (1, 4):
        metrics, _ = compare_tests(_tested("one", rank, subjects), _tested("other", rank + 1, subjects), None)
        assert {(row.low, row.high, row.subjects) for row in metrics} == {(None, None, subjects)}
        assert all(row.p >= 2 / 2**subjects for row in metrics)


def test_signs_of_a_subject_are_flipped_in_all_experiments_at_once(two):
    """So that figures of the same hits are one family of one figure, however often they are compared."""
    alone, _ = compare_tests(*two, None)
    twice = [replace(of, windows=pd.concat([of.windows, of.windows.assign(experiment="both")])) for of in two]
    together, _ = compare_tests(*twice, None)
    assert [row.family_p for row in together] == 2 * [row.family_p for row in alone]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "worse and other were not put to the same test: seed 0 and 1"),
        ({"pool": 16, "negatives": "cross-movie"}, "pool 32 and 16, negatives same-movie and cross-movie"),
    ],
)
def test_tests_of_other_protocols_are_not_compared(two, change, message):
    rank = two[1].windows["rank"].to_numpy().reshape(4, 60)
    with pytest.raises(UserError, match=message):
        compare_tests(two[1], _tested("other", rank, **change), None)


def test_pools_are_compared_by_modality(two):
    one, other = two
    rank = other.windows["rank"].to_numpy().reshape(4, 60)
    same = _tested("same", rank, pool={"video": POOL, "audio": 8})
    assert compare_tests(one, same, None)[0] == compare_tests(one, other, None)[0]
    with pytest.raises(UserError, match="same test: pool 32 and 16"):
        compare_tests(one, _tested("not", rank, pool={"video": 16, "audio": POOL}), None)


def test_a_subject_by_itself_has_its_own_difference(two):
    _, subjects = compare_tests(*two, None)
    metrics, alone = compare_tests(*two, None, subjects=["s3"])
    assert alone == [row for row in subjects if row.subject == "s3"]
    assert [(row.difference, row.low) for row in metrics] == [(row.difference, None) for row in alone]
    assert compare_tests(*two, None, movies=["MOVIE1"]) == compare_tests(*two, None)
    with pytest.raises(UserError, match="better was not tested on movie MOVIE2"):
        compare_tests(*two, None, movies=["MOVIE2"])


@pytest.mark.parametrize("column", WINDOW)
def test_tests_of_other_windows_are_not_compared(two, column):
    one, other = two
    windows = other.windows.copy()
    windows.loc[7, column] = "other" if windows[column].dtype.kind == "O" else 99
    with pytest.raises(UserError, match="were tested on other windows"):
        compare_tests(one, replace(other, windows=windows), None)


def test_what_has_nothing_in_common_is_named(two):
    one, other = two
    heard = replace(other, name="heard", windows=other.windows.assign(direction="fmri->audio"))
    with pytest.raises(UserError, match=r"better has new-subjects fmri->video and heard has .*fmri->audio"):
        compare_tests(one, heard, None)
    with pytest.raises(UserError, match="new-scenes: nothing that both were tested in"):
        compare_tests(one, other, "new-scenes")


def test_a_mean_of_subjects_is_not_compared():
    rank = np.ones((2, 8), int)
    averaged = _tested("mean", rank, average_subjects=True)
    with pytest.raises(UserError, match="average_subjects: the mean of subjects was tested"):
        compare_tests(averaged, averaged, None)
