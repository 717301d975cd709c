"""Scores of the retrieval test, against loops over windows, pools and shifts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import binom

from simdata.common.errors import UserError
from simtrain.data.windows import WINDOW
from simtrain.retrieval.family import family_p
from simtrain.retrieval.intervals import Crossed
from simtrain.retrieval.metrics import TOP, chosen
from simtrain.retrieval.protocol import Protocol
from simtrain.retrieval.ranks import Ranks, expected
from simtrain.retrieval.scores import Score, draw_shifts
from simtrain.retrieval.summary import summarise
from simtrain.retrieval.trials import Drawn, EmbeddedWindows, Exact, ranks, trials_of

METRICS = chosen(["mrr"])


def test_shifts_turn_each_movie_by_ten_rows_or_more():
    movie = np.repeat([3, 5], [25, 31])
    shifts = draw_shifts(np.random.default_rng(0), movie, 300)
    amounts = {0: set(), 25: set()}
    for shift in shifts:
        for first, count in ((0, 25), (25, 31)):
            by = (shift[first] - first) % count
            amounts[first].add(int(by))
            np.testing.assert_array_equal(
                shift[first : first + count], first + (np.arange(count) + by) % count
            )
    assert amounts == {0: set(range(10, 16)), 25: set(range(10, 22))}
    with pytest.raises(UserError, match="only 19 clips"):
        draw_shifts(np.random.default_rng(0), np.zeros(19, int), 5)


@given(hnp.arrays(np.float32, (4, 6), elements=st.sampled_from([0.0, 0.5, 1.0])))
def test_ranks_count_ties_against_the_true_one(similarity):
    for rank, row in zip(ranks(similarity), similarity, strict=True):
        order = sorted(range(6), key=lambda candidate: (-row[candidate], candidate == 0))
        assert rank == 1 + order.index(0)


@given(hnp.arrays(np.int8, (3, 5)), st.integers(-4, 4), st.randoms())
def test_ranks_do_not_depend_on_scale_or_on_the_order_of_negatives(similarity, power, random):
    similarity = similarity.astype(np.float64)
    order = [0, *random.sample(range(1, 5), 4)]
    np.testing.assert_array_equal(ranks(similarity * 2.0**power), ranks(similarity))
    np.testing.assert_array_equal(ranks(similarity[:, order]), ranks(similarity))


@settings(max_examples=5)
@given(st.integers(0, 999))
def test_scores_equal_a_loop_over_windows_and_shifts(seed):
    rng = np.random.default_rng(seed)
    draws, tested, windows, rows, dim, count = 2, 5, 12, 40, 3, 20
    # Small integers: sums in any order are the same, and ties happen.
    fmri, stimulus = rng.integers(-3, 4, (windows, dim)), rng.integers(-3, 4, (rows, dim))
    pools = [
        [rng.choice(windows, rng.integers(2, windows + 1), replace=False) for _ in range(tested)]
        for _ in range(draws)
    ]
    row = rng.integers(0, rows, windows)
    shifts = np.concatenate([np.arange(rows)[None], draw_shifts(rng, np.repeat([0, 1], 20), count)])
    embedded = EmbeddedWindows(fmri.astype("f4")[None], stimulus.astype("f4"), row)
    there, back = Drawn(pools).scores(embedded, shifts, METRICS)
    for score, forward in ((there, True), (back, False)):
        rank = np.zeros((len(shifts), draws, tested))
        size = np.array([[len(pool) for pool in draw] for draw in pools])
        for s, shift in enumerate(shifts):
            for d, draw in enumerate(pools):
                for i, pool in enumerate(draw):
                    if forward:
                        values = [fmri[pool[0]] @ stimulus[shift[row[one]]] for one in pool]
                    else:
                        values = [fmri[one] @ stimulus[shift[row[pool[0]]]] for one in pool]
                    rank[s, d, i] = 1 + sum(value >= values[0] for value in values[1:])
        np.testing.assert_array_equal(score.ranks.rank, rank[0])
        np.testing.assert_array_equal(score.ranks.pool, size)
        np.testing.assert_array_equal(score.ranks.candidates, size)
        for k in TOP:
            share = (rank <= k).mean(axis=(1, 2))
            np.testing.assert_allclose(score.figures[f"top-{k}"], share)
            assert score.p(f"top-{k}") == (1 + (share[1:] >= share[0] - 1e-12).sum()) / (1 + count)
        percentile = (100 * (rank - 1) / (size - 1)).mean(axis=(1, 2))
        np.testing.assert_allclose(score.figures["percentile"], percentile)
        assert score.p("percentile") == (1 + (percentile[1:] <= percentile[0] + 1e-9).sum()) / (1 + count)
        np.testing.assert_allclose(score.figures["mrr"], (1 / rank).mean(axis=(1, 2)))
        np.testing.assert_array_equal(score.figures["median_rank"], np.median(rank, axis=(1, 2)))


def test_a_summary_is_over_draws_and_its_nominal_chance_over_pools():
    rank = np.array([[1, 2, 6], [1, 1, 9]], np.int32)
    pool = np.array([[2, 4, 10], [2, 4, 20]], np.int32)
    figures = {name: np.array([0.25, 0.5, 0.125, 0]) for name in METRICS}
    score = Score(Ranks(rank, pool, pool), METRICS, figures)
    both = Crossed(np.array([[0, 1, 1], [0, 0, 1]]), np.zeros((2, 3), int))
    found = summarise(score, both, np.array([[0, 1, 1], [0, 2, 1]]))
    assert found["top-1"].sd_over_draws == pytest.approx(1 / 6)
    assert found["top-1"].sd_over_rows == pytest.approx(np.std([1, 0, 1]))
    assert found["median_rank"].sd_over_rows == pytest.approx(np.std([1, 6, 1]))
    assert found["top-1"].nominal == pytest.approx(np.mean([1 / 2, 1 / 4, 1 / 10, 1 / 2, 1 / 4, 1 / 20]))
    assert found["top-5"].nominal == pytest.approx(np.mean([1, 1, 1 / 2, 1, 1, 1 / 4]))
    assert found["median_rank"].nominal == pytest.approx(np.mean([3, 5, 11, 3, 5, 21]) / 2)
    harmonic = [sum(1 / place for place in range(1, of + 1)) / of for of in (2, 4, 10, 2, 4, 20)]
    assert found["mrr"].nominal == pytest.approx(np.mean(harmonic))
    assert (found["percentile"].p, found["percentile"].nominal) == (0.75, 50)
    assert {one.mean for one in found.values()} == {0.25}
    assert found["mrr"].chance == pytest.approx(0.625 / 3)


class Small:
    """Random embeddings of windows of two subjects in two movies, each of two film clips."""

    def __init__(self, seed, signal=0.0, seconds=24, shifts=30):
        rng = np.random.default_rng(seed)
        places = [(subject, movie, at) for subject in (3, 8) for movie in (0, 1) for at in range(seconds)]
        self.windows = np.array([(*place, place[2], 3, 1) for place in places], WINDOW)
        self.windows["second"] += 6
        clips, row = np.unique(self.windows[["movie", "clip"]], return_inverse=True)
        self.film_clip, self.movie = self.windows["clip"] // (seconds // 2), clips["movie"]
        # Small integers: sums in any order are the same, and ties happen.
        stimulus = rng.integers(-3, 4, (len(clips), 4)).astype("f4")
        fmri = rng.integers(-3, 4, (1, len(places), 4)) + signal * stimulus[row]
        self.embedded = EmbeddedWindows(fmri.astype("f4"), stimulus, row)
        moved = draw_shifts(rng, self.movie, shifts)
        self.shifts = np.concatenate([np.arange(len(clips))[None], moved])

    def trials(self, protocol, apart=3):
        rng = np.random.default_rng(protocol.seed)
        return trials_of(rng, self.windows, self.film_clip, protocol, apart, "test")

    def scores(self, protocol):
        return self.trials(protocol).scores(self.embedded, self.shifts, METRICS)


PROTOCOLS = {
    "same movie": {"pool": 9},
    "another film clip": {"pool": 7, "negatives": "other-clips"},
    "the same film clip": {"pool": 4, "negatives": "same-clip"},
    "the nearest": {"pool": 6, "negatives": "nearest"},
    "other movies": {"pool": 12, "negatives": "cross-movie"},
    "the whole movie": {"pool": "movie"},
}


@pytest.mark.parametrize("which", PROTOCOLS)
def test_exact_ranks_are_those_of_pools_with_all_candidates(which):
    """As drawn one by one, at every shift."""
    small, protocol = Small(1, signal=0.5), Protocol(lag=6, **PROTOCOLS[which])
    trials = small.trials(protocol)
    contests = [
        (one.windows[one.tested[place]], one.windows[one.against[place]], one.pool[place])
        for one in trials.contests
        for place in range(len(one.tested))
    ]
    np.testing.assert_array_equal([true for true, _, _ in contests], np.arange(len(small.windows)))
    pools = [np.concatenate([[true], others]) for true, others, _ in contests]
    drawn = Drawn([pools]).scores(small.embedded, small.shifts, METRICS)
    for one, other in zip(trials.scores(small.embedded, small.shifts, METRICS), drawn, strict=True):
        np.testing.assert_array_equal(one.ranks.rank, other.ranks.rank)
        np.testing.assert_array_equal(one.ranks.candidates, other.ranks.pool)
        np.testing.assert_array_equal(one.ranks.pool[0], [pool for _, _, pool in contests])
        if which in ("the whole movie", "the nearest"):  # all candidates are in every pool
            for name in METRICS:
                np.testing.assert_allclose(one.figures[name], other.figures[name], rtol=1e-12)


@pytest.mark.parametrize("which", [name for name in PROTOCOLS if name != "the nearest"])
def test_exact_figures_are_the_means_of_many_draws(which):
    small, own = Small(2, signal=0.4), PROTOCOLS[which]
    exact = small.scores(Protocol(lag=6, **own))
    drawn = small.scores(Protocol(lag=6, draws=30, clips=len(small.windows), **own))
    for one, other in zip(exact, drawn, strict=True):
        for name in METRICS.keys() - {"median_rank"}:
            means = expected(METRICS[name], other.ranks).mean(axis=1)
            error = means.std() / np.sqrt(len(means))
            assert one.figures[name][0] == pytest.approx(means.mean(), abs=4 * error + 1e-12)
        # The shifts are the same, so that chance is, but for the draws.
        for k in TOP:
            np.testing.assert_allclose(one.figures[f"top-{k}"], other.figures[f"top-{k}"], atol=0.06)


def test_the_exact_median_is_that_of_all_windows_and_pools():
    small = Small(3, signal=0.2)
    (there, _) = small.scores(Protocol(lag=6, pool=9))
    rng, drawn = np.random.default_rng(0), []
    of_all = there.ranks.ravel()
    for rank, candidates in zip(of_all.rank, of_all.candidates, strict=True):
        drawn.append(1 + rng.hypergeometric(rank - 1, candidates - rank, 8, size=2000))
    assert there.figures["median_rank"][0] == np.median(drawn)


@given(st.data())
def test_expected_values_lie_between_those_of_the_best_and_the_worst_rank(data):
    candidates = data.draw(st.integers(2, 80))
    pool = data.draw(st.integers(2, candidates))
    rank = np.arange(1, candidates + 1)
    every = Ranks(rank, np.full(candidates, candidates), np.full(candidates, pool))
    for metric in METRICS.values():
        values, ends = (
            metric.good(expected(metric, every)),
            metric.good(metric.value(np.array([1, pool]), pool)),
        )
        assert (np.diff(values) <= 1e-9).all()
        assert values[[0, -1]] == pytest.approx(ends.astype(float))
        # All ranks being as likely is what chance nominally is.
        if metric.reduce == "mean":
            assert metric.good(values).mean() == pytest.approx(metric.nominal(every.pool))


def test_noise_is_called_significant_in_any_figure_as_seldom_as_in_one():
    """And a signal is found in most: in the family of both directions and all figures, by 59 shifts."""
    wrong = sum(smallest_family_p(seed, 0) <= 0.05 for seed in range(100))
    assert wrong <= binom.ppf(0.999, 100, 0.05)
    found = sum(smallest_family_p(seed, 0.25) <= 0.05 for seed in range(30))
    assert found > 0.8 * 30


def smallest_family_p(seed, signal):
    scores = Small(seed, signal, seconds=40, shifts=59).scores(Protocol(lag=6, pool=8))
    good = [metric.good(one.figures[name]) for one in scores for name, metric in METRICS.items()]
    return family_p(np.stack(good)).min()


def test_positions_among_those_in_use_stand_for_the_same_windows():
    small, protocol = Small(4), Protocol(lag=6, pool=5, negatives="same-clip")
    small.windows["scene_split"][::2] = 0  # candidates alone
    for one in (small.trials(protocol), small.trials(Protocol(lag=6, pool=5, draws=2, clips=3))):
        used = one.used
        among, less = one.among(used), small.embedded
        few = EmbeddedWindows(less.fmri[:, used], less.stimulus, less.row[used])
        np.testing.assert_array_equal(used[among.tested], one.tested)
        scores = one.scores(less, small.shifts, METRICS), among.scores(few, small.shifts, METRICS)
        for whole, part in zip(*scores, strict=True):
            np.testing.assert_array_equal(whole.figures["mrr"], part.figures["mrr"])
    assert isinstance(small.trials(protocol), Exact)
    assert (small.windows["scene_split"][small.trials(protocol).tested] == 1).all()


def test_too_few_negatives_are_told():
    small = Small(5)
    for draws in ("exact", 2):
        with pytest.raises(UserError, match="test: a window has only 7 same-clip negatives; use `pool` 8 or"):
            small.trials(Protocol(lag=6, pool=20, negatives="same-clip", draws=draws))


def test_chance_is_the_mean_of_the_shifts_and_their_better_end():
    shifted = np.arange(101.0)
    score = Score(
        Ranks(*np.ones((3, 1, 1), np.int32)),
        METRICS,
        dict.fromkeys(METRICS, np.concatenate([[7.0], shifted])),
    )
    assert score.chance("top-1") == (50, 95)
    assert score.chance("median_rank") == (50, 5)
    assert score.p("top-1") == pytest.approx((1 + 94) / 102)
    assert score.p("median_rank") == pytest.approx((1 + 8) / 102)
