"""Splits by themselves: files, lists of ids, and those that come with simdata."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from simdata.cli import cli
from simdata.common.errors import UserError
from simdata.release import catalog as catalogs
from simdata.release.splits import SPLITS, Splits, SubjectSplit
from simdata.release.splits_files import load_splits, shipped, text_of


def ids(*numbers):
    return [str(number) for number in numbers]


def test_with_a_list_of_training_subjects_the_others_are_in_no_set():
    split = SubjectSplit(train=ids(1, 2), val=ids(3), test=ids(4))
    assert [split.of(subject) for subject in ids(1, 2, 3, 4, 5)] == ["train", "train", "val", "test", None]
    assert SubjectSplit(val=ids(3)).of("5") == "train", "without one they are trained on, as ever"
    assert SubjectSplit(train=ids(1)).of("5") is None


@pytest.mark.parametrize(
    ("subjects", "message"),
    [
        ({"train": ["1", "2"], "test": ["2"]}, r"subjects: subjects both in train and test: \['2'\]"),
        ({"train": ["1"], "val": 0.1, "test": 0.1}, r"subjects: with a list of train, val and test must be"),
        ({"train": 0.8}, r"subjects\.train: must be a list of subjects, not 0\.8"),
        ({"train": [100610]}, r'subjects\.train: write each id in quotes, such as "100610"'),
        ({"train": ["1", "1"]}, r"subjects\.train: listed twice: 1"),
        ({"dev": ["1"]}, r"subjects\.dev: unknown key"),
        ({"val": {"files": "a.txt"}}, r"subjects\.val: must be a list of subjects or a fraction"),
    ],
)
def test_faults_name_file_and_key_as_in_a_catalog(subjects, message, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"subjects": subjects}))
    with pytest.raises(UserError, match=message) as error:
        load_splits(file)
    assert str(file) in str(error.value)
    with pytest.raises(UserError, match=message):
        load_splits({"subjects": subjects})


def test_ids_may_stand_in_a_text_beside_the_file(tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/val.txt").write_text("# ours\n100610\n\n 102311 \r\n")
    file = tmp_path / "mine.yml"
    file.write_text("subjects: {val: {file: lists/val.txt}, test: ['111312']}\n")
    wanted = SubjectSplit(val=ids(100610, 102311), test=ids(111312))
    assert load_splits(str(file)).subjects == wanted
    given = {"subjects": {"val": {"file": tmp_path / "lists/val.txt"}, "test": ["111312"]}}
    assert load_splits(given).subjects == wanted
    (tmp_path / "lists/val.txt").unlink()
    with pytest.raises(UserError, match=r"lists/val\.txt: is not there; paths in splits are from their own"):
        load_splits(file)


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "{}"])
def test_what_holds_no_splits_is_said_so(text, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(
        UserError, match=r"mine\.yaml: holds no splits, which have the keys subjects and scenes"
    ):
        load_splits(file)


def test_unknown_names_list_the_known_ones(tmp_path):
    for name in ("thirds", tmp_path / "none.yaml"):
        with pytest.raises(
            UserError,
            match=r"no splits .*: give the path .* or one of guarded-halves, halves, published-code",
        ):
            load_splits(name)


def test_what_is_left_out_is_the_others():
    own = Splits.model_validate({"subjects": {"test": ["1"]}, "scenes": {"clips": {"test": ["a"]}}})
    halves = load_splits("halves").over(own)
    assert halves.subjects == own.subjects
    assert halves.scenes.fractions["test"] == (0.5, 1.0)
    assert not halves.scenes.clips
    everyone = load_splits({"subjects": {}}).over(own)
    assert everyone == Splits(scenes=own.scenes), "an empty part was given"


@pytest.mark.parametrize("name", shipped())
def test_splits_that_come_with_simdata_are_valid_and_equal_their_text(name, tmp_path):
    known = load_splits(name)
    file = tmp_path / "same.yaml"
    file.write_text(text_of(known))
    assert load_splits(file) == known
    assert load_splits(file).model_fields_set == known.model_fields_set
    catalogs.load("hcp7t-movie")[0].with_splits(known.over(Splits()), name)


def test_those_of_the_published_code_are_its_subjects():
    subjects = load_splits("published-code").subjects
    assert {split: len(listed) for split, listed in subjects.lists.items()} == {
        "train": 127,
        "val": 0,
        "test": 53,
    }
    assert subjects.lists["train"][:2] == ["100610", "102311"]
    assert load_splits("published-code-halves").subjects == subjects


def test_halves_are_those_of_the_published_code():
    """Its half of a clip [start, end], both shown, begins to be tested at (start + end) // 2 + 1."""
    hcp, _ = catalogs.load("hcp7t-movie")
    scenes, checked = load_splits("published-code-halves").scenes, 0
    for movie in hcp.movies:
        for clip in movie.segments[:-1]:
            tested = [
                second
                for second in range(clip.start, clip.stop)
                if scenes.of(movie.name, clip, second) == "test"
            ]
            end = clip.stop - 1
            assert tested == list(range((clip.start + end) // 2 + 1, end + 1)), clip
            checked += 1
    assert checked == 14


def test_ids_and_clips_must_be_the_catalogs():
    demo, _ = catalogs.load("demo")
    with pytest.raises(
        UserError, match=r"mine: not for the catalog demo: splits\.subjects\.train: 'anna' is"
    ):
        demo.with_splits(Splits(subjects=SubjectSplit(train=["anna"])), "mine")
    clips = load_splits({"scenes": {"clips": {"test": ["inception"]}}})
    with pytest.raises(
        UserError, match=r"splits\.scenes\.clips\.test: no movie has the clips \['inception'\]"
    ):
        demo.with_splits(clips, "mine")


@given(sets=st.dictionaries(st.integers(0, 60).map(str), st.sampled_from([*SPLITS, None]), max_size=40))
def test_lists_say_what_they_say(sets):
    lists = {split: [one for one, own in sets.items() if own == split] for split in SPLITS}
    split = SubjectSplit(**lists)
    assert {subject: split.of(subject) for subject in sets} == sets


def test_the_commands_list_and_show_them(tmp_path):
    listed = CliRunner().invoke(cli, ["splits", "list"]).output
    assert all(name in listed for name in shipped())
    shown = CliRunner().invoke(cli, ["splits", "show", "published-code"]).output
    assert "{file: split1_train.txt}" in shown
    whole = CliRunner().invoke(cli, ["splits", "show", "published-code", "--whole"]).output
    assert load_splits(yaml.safe_load(whole)) == load_splits("published-code")
    file = tmp_path / "halves.yaml"
    file.write_text(CliRunner().invoke(cli, ["splits", "show", "halves"]).output)
    assert load_splits(file) == load_splits("halves")
    assert Path(shipped()["halves"]).is_file()
