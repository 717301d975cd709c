"""The published retrieval test, against a loop written from what the code (metrics-lab/sim) does.

`tools/retrieval.py` at 8ce726e, with its configuration: a subject, a movie and a hemisphere after the other;
for each of 100 trials one of the movie's film clips, a second in it, and 32 other seconds, of which the true
one must be the nearest to BOLD. Where the store has no whole window, at the ends of clips, the loop has no
second either (docs/published.md).
"""

import random
from typing import NamedTuple

import numpy as np
import pytest
import torch

from simdata.store import BoldReader
from simtrain.data.dataset import open_dataset
from simtrain.data.filters import narrowed
from simtrain.data.windows import WINDOW, Windows
from simtrain.models.embeddings import embed_hemispheres
from simtrain.retrieval.evaluation import retrieve
from simtrain.retrieval.named_protocols import named
from simtrain.retrieval.pools import candidates_of, draw_pools, gap
from simtrain.training.trained_model import load_learner

CPU = torch.device("cpu")
SPAN, LAG = 3, 6
# Film clips of movies by their first and last second.
Film = dict[int, dict[str, tuple[int, int]]]
RETEST = "test-retest"  # never tested
LONG = {
    0: {"one": (20, 80), "two": (101, 139), "three": (160, 221), RETEST: (230, 250)},
    1: {"four": (21, 90), "five": (91, 150), RETEST: (151, 180)},  # without rest between them
}


class Case(NamedTuple):
    """Which seconds may stand against one: of which clips, and how near."""

    negatives: str
    modality: str
    nearest: int  # s, that may
    pool: int  # that the small store can hold


CASES = [
    Case("other-clips-or-retest", "video", 4, 6),
    Case("other-clips-or-retest", "audio", 1, 7),
    Case("same-clip", "video", 4, 3),
    Case("same-clip", "audio", 1, 7),
]


def starts(clip):
    """Seconds at which a window may begin."""
    return list(range(clip[0], clip[1] - SPAN + 2))


def allowed(film: Film, movie, second, case: Case):
    (own,) = (name for name, clip in film[movie].items() if second in starts(clip))
    clips = [clip for name, clip in film[movie].items() if (name == own) == (case.negatives == "same-clip")]
    seconds = [one for clip in clips for one in starts(clip)]
    for near in range(second - case.nearest + 1, second + case.nearest):
        if near in seconds:
            seconds.remove(near)
    return seconds


@pytest.mark.parametrize("case", CASES)
def test_the_same_seconds_may_stand_against_each_window(case):
    protocol = named("published-code", LAG, negatives=case.negatives).of(case.modality)
    places = [
        (subject, movie, number, second)
        for subject in (3, 8)
        for movie, clips in LONG.items()
        for number, clip in enumerate(clips.values())
        for second in starts(clip)
    ]
    film_clip = np.array([number for _, _, number, _ in places])
    tested = np.array([list(LONG[movie])[number] != RETEST for _, movie, number, _ in places])
    windows = np.array(
        [
            (subject, movie, second + LAG, second, 3, int(in_set))
            for (subject, movie, _, second), in_set in zip(places, tested, strict=True)
        ],
        WINDOW,
    )
    apart = gap(protocol, SPAN)
    for true in np.flatnonzero(tested):
        subject, movie, _, second = places[true]
        found = windows[candidates_of(windows, film_clip, true, protocol, apart)]
        assert set(found["subject"]) <= {subject}
        assert set(found["movie"]) <= {movie}
        assert sorted(found["clip"].tolist()) == sorted(allowed(LONG, movie, second, case))


def test_the_test_retest_clip_is_a_candidate_and_never_tested(trained, store):
    """The small store's, of 4 s at the end of its first movie, has whole windows at a lag of 0 alone."""
    used = Windows.of(open_dataset(store), trained.config)
    plain, windows = (used.experiment("new-subjects", 0, in_no_set=also) for also in (False, True))
    added = windows[windows["scene_split"] == 0]
    assert added[["subject", "movie", "clip"]].tolist() == [(4, 0, 56), (4, 0, 57), (5, 0, 56), (5, 0, 57)]
    np.testing.assert_array_equal(windows[windows["scene_split"] != 0], plain)
    np.testing.assert_array_equal(windows, np.sort(windows, order=["subject", "movie", "second"]))
    protocol = named("published-code", 0, pool=3, movies=("M1",)).of("video")
    first = narrowed(windows, used.dataset, movies=["M1"])
    film_clip = used.dataset.segment[first["movie"], first["clip"]]
    pools = draw_pools(np.random.default_rng(0), first, film_clip, protocol, 4, "test")
    for true, *others in pools:
        assert first[true]["scene_split"] == 1
        assert set(first[others]["clip"].tolist()) == {56, 57}


def test_where_halves_are_held_out_it_is_the_second_half_of_the_test_retest_clip(trained, store):
    """As the code takes seconds: behind the rounded middle of its first and last."""
    dataset = open_dataset(store)
    dataset.segment[0, 30:50], dataset.scene_split[0, 30:50] = 5, 0  # the test-retest clip, made longer
    dataset.segment[0, 50:], dataset.scene_split[0, 50:] = 0, 0
    first, last = 30, 49
    ends = set(range(last - SPAN + 2, last + 1))  # where no whole window begins
    used = Windows.of(dataset, trained.config)

    def added(name):
        windows = used.experiment(name, LAG, in_no_set=True)
        return set(windows["clip"][windows["scene_split"] == 0].tolist())

    everything = set(range(first, last + 1)) - ends
    assert added("new-subjects") == added("both") == everything
    dataset.scene_split[1, 20:40] = 3  # the second half of gamma
    assert added("new-subjects") == everything
    assert added("both") == set(range((first + last) // 2 + 1, last + 1)) - ends


class Embedded(NamedTuple):
    """A model's embeddings of the tested subjects' windows, and what it was asked for."""

    dataset: object
    windows: np.ndarray
    film: Film
    bold: dict  # (subject, movie, second of the clip) -> (hemispheres, dim)
    clips: dict  # (modality, movie, second) -> (dim,)


@pytest.fixture(scope="module")
def embedded(trained, store):
    """The small store with all scenes for training, so that a movie has two film clips to draw from."""
    dataset = open_dataset(store)
    dataset.scene_split[dataset.scene_split == 3] = 1
    learner = load_learner(trained, dataset, CPU)
    windows = Windows.of(dataset, trained.config).experiments("new-subjects", LAG)["new-subjects"]
    keys = [(int(one["subject"]), int(one["movie"]), int(one["clip"])) for one in windows]
    bold = dict(zip(keys, embed_hemispheres(learner, BoldReader(store), windows, 3), strict=True))
    with torch.no_grad():
        of_clips = learner.embed_clips(windows["movie"], windows["clip"])
    clips = {
        (modality, movie, second): vector
        for modality, vectors in of_clips.items()
        for (_, movie, second), vector in zip(keys, vectors.numpy(), strict=True)
    }
    film = {0: {"alpha": (2, 41), "beta": (44, 54)}, 1: {"gamma": (1, 39), "delta": (42, 54)}}
    return Embedded(dataset, windows, film, bold, clips)


def is_first(embedded, modality, row, second, others):
    """Whether the true second is nearer to BOLD than the others, by cosine similarity."""
    subject, movie, hemisphere = row
    bold = embedded.bold[subject, movie, second][hemisphere]
    vectors = np.stack([embedded.clips[modality, movie, one] for one in (second, *others)])
    return int(np.argmax(vectors @ bold / np.linalg.norm(vectors, axis=1)) == 0)


def rows_of(embedded):
    runs = sorted({(subject, movie) for subject, movie, _ in embedded.bold})
    return [(*run, hemisphere) for run in runs for hemisphere in (0, 1)]


def protocol_of(case, draws=1):
    """The published one with a pool that so small a store can hold; for the other modality the smallest."""
    pool = {"video": 2, "audio": 2} | {case.modality: case.pool}
    return named("published-code", LAG, negatives=case.negatives, pool=pool, draws=draws)


def measured(trained, embedded, case, draws=1):
    protocol = protocol_of(case, draws)
    found = retrieve(trained, embedded.dataset, "new-subjects", protocol, CPU)["new-subjects"]
    return found.measures[f"fmri->{case.modality}"]["top-1"], found.scores[f"fmri->{case.modality}"]


@pytest.mark.parametrize("case", [CASES[0], CASES[3]])
def test_the_figures_of_the_same_pools_are_the_same(trained, embedded, case):
    own, windows = protocol_of(case).of(case.modality), embedded.windows
    film_clip = embedded.dataset.segment[windows["movie"], windows["clip"]]
    pools = draw_pools(np.random.default_rng(0), windows, film_clip, own, gap(own, SPAN), "test")
    first = {row: [] for row in rows_of(embedded)}
    for true, *others in pools:
        run = int(windows[true]["subject"]), int(windows[true]["movie"])
        second, against = int(windows[true]["clip"]), windows[others]["clip"].tolist()
        assert set(against) <= set(allowed(embedded.film, run[1], second, case))
        for hemisphere in (0, 1):
            row = (*run, hemisphere)
            first[row].append(is_first(embedded, case.modality, row, second, against))
    top1 = [np.mean(of_row) for of_row in first.values()]
    measure, _ = measured(trained, embedded, case)
    assert {len(of_row) for of_row in first.values()} == {100}
    assert measure.mean == pytest.approx(np.mean(top1))
    assert measure.sd_over_rows == pytest.approx(np.std(top1))


@pytest.mark.parametrize("case", [CASES[0], CASES[3]])
def test_the_figures_of_other_draws_are_alike(trained, embedded, case):
    """The loop's own draws: 1,000 trials of a row, as many as ours."""
    trials = 1000
    draw = random.Random(0)
    top1 = []
    for row in rows_of(embedded):
        film = embedded.film[row[1]]
        correct = 0
        for _ in range(trials):
            second = draw.choice(starts(draw.choice(list(film.values()))))
            others = draw.sample(allowed(embedded.film, row[1], second, case), case.pool - 1)
            correct += is_first(embedded, case.modality, row, second, others)
        top1.append(correct / trials)
    measure, score = measured(trained, embedded, case, draws=10)
    # Ours are (draws, hemispheres * runs * 100), the hemispheres one after the other.
    ours = (score.ranks.rank == 1).reshape(10, 2, -1, 100).mean(axis=(0, 3)).T.ravel()
    error = np.sqrt(2 * 0.25 / trials)
    np.testing.assert_allclose(ours, top1, atol=4 * error)
    assert measure.mean == pytest.approx(np.mean(top1), abs=4 * error / np.sqrt(len(top1)))
    assert measure.sd_over_rows == pytest.approx(np.std(top1), abs=2 * error)
