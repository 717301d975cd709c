import copy

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from simdata import catalog as catalogs
from simdata.catalog import REPEAT, SubjectSplit, parse
from simdata.errors import UserError

MINIMAL = {
    "name": "mini",
    "title": "Mini",
    "tr": 1.0,
    "stimulus_lag": 5,
    "bold": ["sub-{subject}/{movie}.dtseries.nii"],
    "subject_pattern": "[0-9]+",
    "movies": [
        {
            "name": "A",
            "volumes": 30,
            "phase_encoding": "AP",
            "session": 1,
            "video": "a.mp4",
            "segments": [{"name": "one", "start": 2, "stop": 12}, {"name": "two", "start": 12, "stop": 30}],
        }
    ],
}


def with_change(path, value):
    data = copy.deepcopy(MINIMAL)
    target = data
    for key in path[:-1]:
        target = target[key]
    if value is None:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return yaml.safe_dump(data)


def test_hcp_catalog_states_the_release():
    hcp, text = catalogs.load("hcp7t-movie")
    assert [movie.volumes for movie in hcp.movies] == [921, 918, 915, 901]
    assert [movie.phase_encoding for movie in hcp.movies] == ["AP", "PA", "PA", "AP"]
    assert hcp.volumes == 921
    assert hcp.stimulus_lag == 6
    # The design's inclusive ranges.
    inclusive = [[(s.start, s.stop - 1) for s in movie.segments] for movie in hcp.movies]
    assert inclusive == [
        [(20, 263), (285, 504), (526, 713), (734, 797), (818, 900)],
        [(20, 246), (267, 525), (545, 794), (815, 897)],
        [(20, 199), (221, 404), (425, 628), (650, 791), (812, 894)],
        [(20, 252), (272, 501), (522, 777), (798, 880)],
    ]
    assert all(movie.segments[-1].name == REPEAT for movie in hcp.movies)
    fields = {"subject": "100610", "movie": "MOVIE3", "phase_encoding": "PA"}
    assert hcp.bold[0].format(**fields) == (
        "100610/MNINonLinear/Results/tfMRI_MOVIE3_7T_PA/"
        "tfMRI_MOVIE3_7T_PA_Atlas_1.6mm_MSMAll_hp2000_clean.dtseries.nii"
    )
    assert parse(text, "again") == hcp


@pytest.mark.parametrize("name", catalogs.shipped())
def test_shipped_catalogs_are_valid(name):
    assert catalogs.load(name)[0].name == name


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("colour",), "red", r"colour: unknown key"),
        (("movies", 0, "fps"), 25, r"movies\[0\]\.fps: unknown key"),
        (("tr",), "fast", r"tr: Input should be a valid number"),
        (("tr",), 0.72, r"tr must be 1\.0"),
        (("movies", 0, "volumes"), "921", r"movies\[0\]\.volumes: Input should be a valid integer"),
        (("movies", 0, "volumes"), 29, r"movies\[0\]: segment two ends at 30, after the run's 29 volumes"),
        (("movies", 0, "segments", 1, "start"), 11, r"movies\[0\]: segment two starts before"),
        (("movies", 0, "segments", 0, "stop"), 2, r"segments\[0\]: stop \(2\) must be after start \(2\)"),
        (("movies", 0, "segments", 0, "name"), "two words", r"segments\[0\]\.name: use letters"),
        (("movies", 0, "segments", 0, "name"), "rest", r"rest is what no segment covers"),
        (("movies",), [], r"movies: List should have at least 1 item"),
        (("movies",), None, r"movies: missing"),
        (("movies", 0, "video"), None, r"movies\[0\]\.video: missing"),
        (("bold",), ["{subject}.nii"], r"must contain \{subject\} and \{movie\}"),
        (("bold",), ["{subject}/{movie}_{task}.nii"], r"may use only"),
        (("subject_pattern",), "[0-9", r"subject_pattern: not a regular expression"),
        (("splits",), {"subjects": {"val": 0.6, "test": 0.4}}, r"leave something for train"),
        (("splits",), {"subjects": {"val": ["1"], "test": ["1"]}}, r"both in val and test: \['1'\]"),
        (("splits",), {"scenes": {"clips": {"test": ["three"]}}}, r"no movie has the clips \['three'\]"),
        (("splits",), {"scenes": {"clips": {"dev": ["one"]}}}, r"splits\.scenes\.clips\.dev"),
    ],
)
def test_faults_name_file_and_key(path, value, message):
    with pytest.raises(UserError, match=message) as error:
        parse(with_change(path, value), "lab.yaml")
    assert "lab.yaml" in str(error.value)


def test_all_faults_are_listed_at_once():
    with pytest.raises(UserError) as error:
        parse("name: x\nmovies: 3\ncolour: red\n", "lab.yaml")
    assert {"title: missing", "colour: unknown key"} <= {
        line.strip() for line in str(error.value).splitlines()
    }


def test_what_is_no_yaml_is_said_so():
    with pytest.raises(UserError, match=r"lab\.yaml is not valid YAML"):
        parse("movies: [", "lab.yaml")


def test_unknown_names_list_the_known_ones(tmp_path):
    with pytest.raises(UserError, match="demo, hcp7t-movie"):
        catalogs.load("hcp3t")
    file = tmp_path / "lab.yaml"
    file.write_text(yaml.safe_dump(MINIMAL))
    assert catalogs.load(str(file))[0].name == "mini"


@given(ids=st.sets(st.integers(100_000, 999_999).map(str), min_size=400, max_size=400))
def test_fractional_subject_splits_are_stable_and_near_their_size(ids):
    split = SubjectSplit(val=0.1, test=0.2)
    sets = {subject: split.of(subject) for subject in ids}
    assert {subject: split.of(subject) for subject in sorted(ids)[:50]}.items() <= sets.items()
    assert 0.1 < sum(s == "test" for s in sets.values()) / 400 < 0.3


def test_scenes_are_cut_by_fraction_and_clips_take_precedence():
    text = with_change(
        ("splits",),
        {"scenes": {"fractions": {"train": [0.0, 0.5], "test": [0.5, 1.0]}, "clips": {"val": ["two"]}}},
    )
    mini = parse(text, "mini")
    one, two = mini.movies[0].segments
    assert [mini.splits.scenes.of(one, second) for second in (2, 6, 7, 11)] == ["train"] * 2 + ["test"] * 2
    assert mini.splits.scenes.of(two, 13) == "val"


def test_the_repeated_clip_is_in_no_set():
    hcp, _ = catalogs.load("hcp7t-movie")
    repeat = hcp.movies[0].segments[-1]
    assert hcp.splits.scenes.of(repeat, repeat.start) is None
