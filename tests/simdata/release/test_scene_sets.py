"""Which second of film is in which set, and how far sets are apart, beside loops over seconds."""

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import simdata
from simdata.cli import cli
from simdata.common.errors import UserError
from simdata.release.catalog import Catalog
from simdata.release.scene_sets import scene_sets
from simdata.release.splits_files import load_splits

TRAIN, VAL, TEST, GUARD = 1, 2, 3, 4
SETS = ("train", "val", "test")


def catalog(movies, scenes):
    """Of movies as lists of lengths, of rest and of clips by turns."""
    written, number = [], 0
    for name, lengths in zip("AB", movies, strict=False):
        second, segments = 0, []
        for place, length in enumerate(lengths):
            if place % 2:
                segments.append({"name": f"c{number}", "start": second, "stop": second + length})
                number += 1
            second += length
        movie = {"name": name, "volumes": second + 3, "phase_encoding": "AP", "session": 1}
        written.append(movie | {"video": f"{name}.mp4", "segments": segments})
    return Catalog.model_validate(
        {
            "name": "drawn",
            "title": "Drawn",
            "tr": 1.0,
            "stimulus_lag": 5,
            "bold": ["{subject}/{movie}.dtseries.nii"],
            "subject_pattern": "[0-9]+",
            "movies": written,
            "splits": {"scenes": scenes},
        }
    )


@st.composite
def divided(draw):
    """A catalog that is divided in every way that there is, without a guard, and a guard."""
    lengths = st.lists(st.integers(1, 15), min_size=2, max_size=8)
    movies = draw(st.lists(lengths, min_size=1, max_size=2))
    clips = [f"c{number}" for number in range(sum(len(one) // 2 for one in movies))]
    low, high = sorted(draw(st.lists(st.integers(1, 9), min_size=2, max_size=2, unique=True)))
    cuts = [[0, low / 10], [low / 10, high / 10], [high / 10, 1]]
    fractions = dict(zip(draw(st.permutations(SETS)), cuts, strict=True))
    otherwise = dict(zip(draw(st.permutations(SETS)), cuts, strict=True))
    whole = draw(st.dictionaries(st.sampled_from(clips), st.sampled_from(SETS)))
    rest = [clip for clip in clips if clip not in whole]
    cut = draw(st.lists(st.sampled_from(rest), unique=True)) if rest else []
    scenes = {
        "fractions": draw(st.sampled_from([{}, fractions])),
        "clip_fractions": {clip: otherwise for clip in cut},
        "clips": {split: [clip for clip, own in whole.items() if own == split] for split in SETS},
        "movies": draw(st.sampled_from([{}, {"test": ["A"]}])),
    }
    return movies, scenes, draw(st.integers(0, 25))


@given(divided())
def test_film_of_two_sets_is_the_guard_apart_and_no_more_is_given_up_than_that_takes(drawn):
    movies, scenes, guard = drawn
    plain = scene_sets(catalog(movies, scenes))
    guarded = scene_sets(catalog(movies, scenes | {"guard": guard}))
    for before, after in zip(plain.tolist(), guarded.tolist(), strict=True):
        film = [second for second, code in enumerate(before) if code]
        for second, code in enumerate(after):
            assert code in (before[second], GUARD)
            others = [other for other in film if before[other] not in (0, before[second])]
            if code == GUARD:  # some film of another set is nearer than the guard
                assert min(abs(second - other) - 1 for other in others) < guard
            elif code:
                held = [other for other, own in enumerate(after) if own not in (0, GUARD, code)]
                assert all(abs(second - other) - 1 >= guard for other in held)


@pytest.mark.parametrize(
    ("guard", "expected"),
    [
        (0, "111111333333"),
        (1, "111114433333"),
        (2, "111114433333"),
        (4, "111144443333"),
        (30, "444444444444"),
    ],
)
def test_both_sides_of_a_cut_give_up_the_same(guard, expected):
    scenes = {"fractions": {"train": [0, 0.5], "test": [0.5, 1]}, "guard": guard}
    found = scene_sets(catalog([[2, 12]], scenes))
    assert "".join(map(str, found[0, 2:14])) == expected


def test_rest_between_clips_counts_and_a_whole_movie_needs_no_guard():
    scenes = {"clips": {"test": ["c1"]}, "guard": 6}
    found = scene_sets(catalog([[1, 8, 4, 8], [1, 8]], scenes))
    assert "".join(map(str, found[0, :21])) == "0" + "11111114" + "0000" + "43333333"
    assert set(found[1, 1:9]) == {TRAIN}


def test_the_release_has_validation_scenes_and_twenty_seconds_between_sets():
    own = simdata.scene_sets("hcp7t-movie")
    assert own == simdata.scene_sets("hcp7t-movie", "guarded-halves")
    assert [own[split].nearest for split in ("val", "test")] == [20, 20]
    assert [own[split].near for split in ("val", "test")] == [0, 0]
    assert min(own[split].seconds for split in SETS) > 400
    before = simdata.scene_sets("hcp7t-movie", "halves")
    assert before["test"].nearest == 0
    assert 0.19 < before["test"].near < 0.2
    assert before["val"].seconds == before["guard"].seconds == 0
    assert sum(of_set.seconds for of_set in own.values()) == sum(one.seconds for one in before.values())


@pytest.mark.parametrize("frames", [1, 3, 5])
def test_windows_are_counted_within_one_clip_and_one_set(frames):
    hcp = Catalog.load("hcp7t-movie")
    table = scene_sets(hcp)
    expected = dict.fromkeys(SETS, 0)
    for movie, row in zip(hcp.movies, table, strict=True):
        for clip in movie.segments:
            for second in range(clip.start, clip.stop - frames + 1):
                held = set(row[second : second + frames].tolist())
                if len(held) == 1 and held <= {TRAIN, VAL, TEST}:
                    expected[SETS[held.pop() - 1]] += 1
    found = simdata.scene_sets(hcp, frames=frames)
    assert {split: found[split].windows for split in SETS} == expected


@pytest.mark.parametrize(
    ("name", "test", "val"),
    [("leave-out:MOVIE3", "MOVIE3", None), ("leave-out:MOVIE2,val=MOVIE4", "MOVIE2", "MOVIE4")],
)
def test_a_movie_is_left_out_by_its_name(name, test, val):
    hcp = Catalog.load("hcp7t-movie")
    table = scene_sets(hcp.with_splits(load_splits(name).over(hcp.splits), name))
    for movie, row in zip(hcp.movies, table, strict=True):
        expected = TEST if movie.name == test else VAL if movie.name == val else TRAIN
        assert set(np.unique(row)) == {0, expected}
    assert simdata.scene_sets("hcp7t-movie", name)["test"].nearest is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("leave-out:", r"no splits 'leave-out:': write leave-out:MOVIE\[,val=MOVIE\]"),
        ("leave-out:MOVIE1,MOVIE2", r"write leave-out:MOVIE"),
        ("leave-out:MOVIE1,val=MOVIE1", r"scenes: movies: MOVIE1 is in two sets"),
        (
            "leave-out:MOVIE9",
            r"splits\.scenes\.movies\.test: there is no movie \['MOVIE9'\]; there are MOVIE1",
        ),
        ({"scenes": {"guard": 20}}, r"scenes: guard: keeps sets apart, and all scenes are train here"),
        ({"scenes": {"fractions": {"test": [0.5, 1.0]}, "guard": -1}}, r"scenes\.guard: .*greater than"),
        ({"scenes": {"fractions": {"test": [0.5, 1.0]}, "guard": 2.5}}, r"scenes\.guard: .*integer"),
        (
            {"scenes": {"clip_fractions": {"hotel": {"val": [0.5, 0.2]}}}},
            r"clip_fractions\.hotel\.val: \[0\.5",
        ),
        ({"scenes": {"clip_fractions": {"motel": {"val": [0.5, 1]}}}}, r"no movie has the clips \['motel'\]"),
        (
            {"scenes": {"clips": {"test": ["hotel"]}, "clip_fractions": {"hotel": {"val": [0.5, 1]}}}},
            r"clips: hotel is in two sets, or named and cut too",
        ),
    ],
)
def test_faults_are_told_with_their_key(given, message):
    with pytest.raises(UserError, match=message):
        simdata.scene_sets("hcp7t-movie", given)


def test_the_command_shows_how_a_catalog_is_divided(tmp_path):
    def shown(*arguments):
        return CliRunner().invoke(cli, ["splits", "show", *arguments])

    output = shown("--catalog", "hcp7t-movie").output
    assert all(word in output for word in ("windows of 3 s", "20 s", "0.0 %", "guard"))
    assert "19.6 %" in shown("halves", "--catalog", "hcp7t-movie").output
    assert "in no run with it" in shown("leave-out:MOVIE1", "--catalog", "hcp7t-movie").output
    assert "windows of 5 s" in shown("halves", "--catalog", "demo", "--frames", "5").output
    assert yaml.safe_load(shown("leave-out:M").output) == {"scenes": {"movies": {"test": ["M"]}}}
    assert "leave-out:MOVIE[,val=MOVIE]" in CliRunner().invoke(cli, ["splits", "list"]).output
    for wrong, message in (
        ((), "give the NAME of splits"),
        (("halves", "--frames", "5"), "--frames"),
        (("--catalog", "demo", "--whole"), "--whole"),
    ):
        failed = shown(*wrong)
        assert failed.exit_code
        assert message in str(failed.exception) + failed.output
