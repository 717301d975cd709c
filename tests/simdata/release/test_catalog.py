import copy
import re
import time

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from simdata.cli.root import cli
from simdata.common.errors import UserError
from simdata.release import catalog as catalogs
from simdata.release.catalog import parse
from simdata.release.splits import REPEAT, SubjectSplit

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
    assert hcp.seconds == 921
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
        (("tr",), 0.72, r"movies\[0\]\.volumes: counts volumes of 1 s where tr is 1\.0; give `seconds`"),
        (("tr",), 0, r"tr: Input should be greater than 0"),
        (("movies", 0, "volumes"), "921", r"movies\[0\]\.volumes: Input should be a valid integer"),
        (("movies", 0, "volumes"), 29, r"movies\[0\]: segment two ends at 30, after the run's 29 volumes"),
        (("movies", 0, "segments", 1, "start"), 11, r"movies\[0\]: segment two starts before"),
        (("movies", 0, "segments", 0, "stop"), 2, r"segments\[0\]: stop \(2\) must be after start \(2\)"),
        (("movies", 0, "segments", 0, "name"), "two words", r"segments\[0\]\.name: use letters"),
        (("movies", 0, "segments", 0, "name"), "rest", r"rest is what no segment covers"),
        (("movies",), [], r"movies: list at least one movie"),
        (("movies",), None, r"movies: list at least one movie"),
        (("movies", 0, "video"), None, r"movies\[0\]\.video: missing"),
        (("bold",), {"subject": "1"}, r"bold: subject: write sub"),
        (("bold",), {"space": "fsLR"}, r"movie: say by entities what was shown in a scan"),
        (("movie",), "{task}", r"movie and repeat: are for `bold` by BIDS entities"),
        (("bold",), ["{movie}.nii"], r"must contain \{subject\} and \{movie\}"),
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
    found = [mini.splits.scenes.of("A", one, second) for second in (2, 6, 7, 11)]
    assert found == ["train"] * 2 + ["test"] * 2
    assert mini.splits.scenes.of("A", two, 13) == "val"


def test_the_repeated_clip_is_in_no_set():
    hcp, _ = catalogs.load("hcp7t-movie")
    repeat = hcp.movies[0].segments[-1]
    assert hcp.splits.scenes.of("MOVIE1", repeat, repeat.start) is None


NOT_VALUES = [
    (("tr",), True, r"tr: Input should be a valid number \(it is True\)"),
    (("tr",), float("nan"), r"tr: Input should be a finite number"),
    (("tr",), float("inf"), r"tr: Input should be a finite number"),
    (("movies", 0, "volumes"), 10**8, r"movies\[0\]\.volumes: Input should be less than or equal to 86400"),
    (("movies", 0, "volumes"), 10**400, r"movies\[0\]\.volumes: .*a number of many digits"),
    (("movies", 0, "volumes"), -3, r"movies\[0\]\.volumes: Input should be greater than 0"),
    (
        ("movies", 0, "volumes"),
        30.0,
        r"movies\[0\]\.volumes: Input should be a valid integer \(it is 30\.0\)",
    ),
    (("movies", 0, "volumes"), True, r"movies\[0\]\.volumes: Input should be a valid integer \(it is True\)"),
    (("movies", 0, "session"), 10**30, r"movies\[0\]\.session: Input should be less"),
    (("movies", 0, "name"), "..", r"movies\[0\]\.name: may not begin with a dot"),
    (("movies", 0, "name"), 1, r'movies\[0\]\.name: .*write it in quotes, "1"'),
    (("movies", 0, "phase_encoding"), "../x", r"movies\[0\]\.phase_encoding: use letters"),
    (("movies", 0, "video"), "../a.mp4", r"movies\[0\]\.video: '\.\./a\.mp4': may not have '\.\.'"),
    (("movies", 0, "video"), "/films/a.mp4", r"movies\[0\]\.video: .* is absolute"),
    (("movies", 0, "video"), "**/a.mp4", r"movies\[0\]\.video: .*not \*\*"),
    (("bold",), ["../{subject}/{movie}.nii"], r"bold\[0\]: .*may not have '\.\.'"),
    (("bold",), ["/data/{subject}/{movie}.nii"], r"bold\[0\]: .*is absolute"),
    (("bold",), ["~/{subject}/{movie}.nii"], r"bold\[0\]: .*is absolute"),
    (("bold",), ["{subject:>100000000}/{movie}.nii"], r"bold\[0\]: .*no other name, attribute, width"),
    (("bold",), ["{subject!r}/{movie}.nii"], r"bold\[0\]: .*conversion"),
    (("bold",), ["{subject.__class__}/{movie}.nii"], r"bold\[0\]: .*attribute"),
    (("bold",), ["{subject[0]}/{movie}.nii"], r"bold\[0\]: bold pattern may use only|bold\[0\]: .*attribute"),
    (("bold",), ["{{subject}}/{subject}/{movie}.nii"], r"bold\[0\]: .*braces are for fields"),
    (("bold",), ["{subject}/{movie}.nii"] * 2, r"bold: listed twice"),
    (("subject_pattern",), "", r"subject_pattern: matches no name"),
    (("subject_pattern",), 123456, r'subject_pattern: .*in quotes, "123456"'),
    (("subject_pattern",), "^[0-9]+$", r"subject_pattern: .*leave out \^"),
    (("subject_pattern",), "(?P<subject>a)", r"subject_pattern: groups may have no names"),
    (("subject_pattern",), r"([0-9])\1", r"subject_pattern: .*leave out"),
    (
        ("splits",),
        {"scenes": {"fractions": {"test": [0.9, 0.1]}}},
        r"splits\.scenes: fractions\.test: \[0\.9, 0",
    ),
    (("splits",), {"scenes": {"fractions": {"test": [-0.1, 0.5]}}}, r"splits\.scenes: fractions\.test"),
    (("splits",), {"scenes": {"fractions": {"test": [0.5, 1.01]}}}, r"splits\.scenes: fractions\.test"),
    (
        ("splits",),
        {"scenes": {"fractions": {"train": [0, 0.6], "test": [0.5, 1]}}},
        r"fractions: train and test overlap between 0\.5 and 0\.6",
    ),
    (
        ("splits",),
        {"scenes": {"fractions": {"test": [float("nan"), 1]}}},
        r"splits\.scenes\.fractions\.test\[0\]: Input should be a finite",
    ),
    (("splits",), {"scenes": {"fractions": {"test": [True, "1"]}}}, r"fractions\.test\[0\]: .*valid number"),
    (("splits",), {"scenes": {"clips": {"test": ["one", "one"]}}}, r"clips\.test: listed twice: one"),
    (("splits",), {"scenes": {"clips": {"test": ["one"], "val": ["one"]}}}, r"clips: one is in two sets"),
    (("splits",), {"scenes": {"clips": {"test": [REPEAT]}}}, r"clips: test-retest is shown in every run"),
    (
        ("splits",),
        {"subjects": {"val": [100610]}},
        r'splits\.subjects\.val: write each id in quotes, .*"100610"',
    ),
    (("splits",), {"subjects": {"test": ["1", "1"]}}, r"splits\.subjects\.test: listed twice: 1"),
    (("splits",), {"subjects": {"test": ["anna"]}}, r"splits\.subjects\.test: 'anna' is no id"),
    (("splits",), {"subjects": {"val": True, "test": False}}, r"splits\.subjects\.val: must be a list"),
    (("splits",), {"subjects": {"val": float("nan"), "test": 0.1}}, r"splits\.subjects: fractions must be"),
    (("stimulus_lag",), -1, r"stimulus_lag: "),
    (("stimulus_lag",), 10**9, r"stimulus_lag: "),
]


@pytest.mark.parametrize(("path", "value", "message"), NOT_VALUES)
def test_values_that_cannot_be_name_their_key(path, value, message):
    with pytest.raises(UserError, match=message):
        parse(with_change(path, value), "lab.yaml")


def test_movies_differ_in_more_than_upper_and_lower_case():
    movies = [{**MINIMAL["movies"][0], "name": name} for name in ("rest1", "REST1")]
    with pytest.raises(UserError, match="movie names must differ, not only in upper and lower case"):
        parse(with_change(("movies",), movies), "lab.yaml")


SLOW = [
    "(a+)+",
    "(a|aa)+",
    "(a*)*b",
    "([a-z]+[0-9]*)+x",
    "a*a*a*a*a*b",
    "(?:(?:a{0,99}){0,99}){0,99}",
    "(x+x+)+y",
]
USABLE = ["[0-9]{6}", r"sub\d+|ctl\d+", r"\w+", "[A-Z]{2}(?:[0-9]{1,2}){3}", ".+", "[a-z]+-[a-z]+-[0-9]+"]


@pytest.mark.parametrize("pattern", SLOW)
def test_expressions_that_may_take_for_ever_are_refused(pattern):
    with pytest.raises(UserError, match=r"subject_pattern: .*could take very long"):
        parse(with_change(("subject_pattern",), pattern), "lab.yaml")


@pytest.mark.parametrize("pattern", USABLE)
def test_usual_expressions_are_taken_and_quick_on_any_name(pattern):
    parse(with_change(("subject_pattern",), pattern), "lab.yaml")
    start = time.process_time()
    for name in ("a" * 255, "a-" * 127, "1" * 254 + "!", "x" * 127 + "-" * 128):
        re.fullmatch(pattern, name)
    assert time.process_time() - start < 5


def test_many_faults_are_counted():
    movies = [{**MINIMAL["movies"][0], "name": f"bad name {i}"} for i in range(300)]
    with pytest.raises(UserError, match="and 280 more") as error:
        parse(with_change(("movies",), movies), "lab.yaml")
    assert len(str(error.value)) < 10_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("title: Größe".encode("latin-1"), r"mine\.yaml: is not UTF-8 \(line 1, byte 0xf6\)"),
        ("title: mini".encode("utf-16"), "is not UTF-8"),
        (b"title: a\0b", "is not valid YAML"),
        (b"", "is not a valid catalog: it is empty"),
        (b"# nothing\n", "is not a valid catalog: it is empty"),
        (b"- a\n- b\n", "it holds a list, no keys"),
        (b"x" * 2_000_000, "is larger than 1 MB"),
        (b"\x89PNG\r\n", "is not UTF-8"),
    ],
)
def test_files_that_are_no_catalogs_are_said_to_be(tmp_path, content, message):
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        catalogs.load(str(file))


def test_a_byte_order_mark_and_a_folder_are_dealt_with(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + yaml.safe_dump(MINIMAL).encode())
    assert catalogs.load(str(file))[0].name == "mini"
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(UserError, match="is a folder, where a file is expected"):
        catalogs.load(str(tmp_path / "folder.yaml"))


def test_the_list_of_catalogs_says_what_only_a_tree_or_films_tell():
    printed = CliRunner().invoke(cli, ["catalog", "list"]).output
    assert re.search(r"hcp7t-movie .* 4 .* 3655", printed)
    assert re.search(r"cneuromod-friends .* of the tree .* of the films", printed)
    assert re.search(r"budapest .* 5 .* of the films", printed)
