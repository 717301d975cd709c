"""The table of plays: by rule, by events and by a table of the user's."""

import copy

import pytest
import yaml
from cifti_files import noise, write_dtseries
from hypothesis import given, settings
from hypothesis import strategies as st
from store_files import call

import simdata
from simdata.common.errors import UserError
from simdata.release.catalog import parse
from simdata.release.found_runs import find_runs, look_at
from simdata.release.plays import play_table
from simdata.release.sources import FROM_START, NamedScan, Play, Scan

MINIMAL = {
    "name": "mini",
    "title": "Mini",
    "stimulus_lag": 5,
    "bold": ["sub-{subject}/{movie}_run-{run}_bold.dtseries.nii"],
    "movies": [{"name": name, "video": f"{name}.mp4", "seconds": 300} for name in ("A", "B")],
}


def catalog(**changes):
    return parse(yaml.safe_dump(copy.deepcopy(MINIMAL) | changes), "mini")


def movie(name="A", **changes):
    return {"name": name, "video": f"{name}.mp4", "seconds": 300, **changes}


def write(folder, *names, content=b"x"):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content + name.encode())


def plays_of(found):
    return {run.key: [part.plays for part in run.parts] for run in found.runs}


def files_of(found):
    return {run.key: [part.scan.relative for part in run.parts] for run in found.runs}


def test_without_a_rule_film_and_scan_begin_together(tmp_path):
    write(tmp_path, "sub-1/A_run-1_bold.dtseries.nii", "sub-1/B_run-2_bold.dtseries.nii")
    found = find_runs(catalog(), tmp_path)
    assert plays_of(found) == {"1/A": [(FROM_START,)], "1/B": [(FROM_START,)]}
    assert plays_of(find_runs(catalog(plays="start"), tmp_path)) == plays_of(found)


def test_an_onset_is_that_of_all_movies_or_of_one(tmp_path):
    write(tmp_path, "sub-1/A_run-1_bold.dtseries.nii", "sub-1/B_run-1_bold.dtseries.nii")
    rules = catalog(
        plays={"onset": 7.3}, movies=[movie("A"), movie("B", plays={"onset": 94, "duration": 60})]
    )
    assert plays_of(find_runs(rules, tmp_path)) == {
        "1/A": [(Play(7.3, 0.0, None),)],
        "1/B": [(Play(94.0, 0.0, 60.0),)],
    }


def test_a_film_over_several_scans_has_a_rule_for_each(tmp_path):
    write(tmp_path, *(f"sub-1/A_run-{run}_bold.dtseries.nii" for run in (10, 2, 1)))
    rules = [{}, {"film_start": 100.0}, {"onset": 6.0, "film_start": 180.5}]
    found = find_runs(catalog(movies=[movie(plays=rules)]), tmp_path)
    assert files_of(found) == {"1/A": [(f"sub-1/A_run-{run}_bold.dtseries.nii",) for run in (1, 2, 10)]}
    assert plays_of(found) == {
        "1/A": [(Play(0.0, 0.0, 100.0),), (Play(0.0, 100.0, 80.5),), (Play(6.0, 180.5, None),)]
    }


def test_two_scans_of_a_film_without_a_word_on_what_they_show_are_told(tmp_path):
    write(tmp_path, "sub-1/A_run-1_bold.dtseries.nii", "sub-1/A_run-2_bold.dtseries.nii")
    write(tmp_path, "sub-2/A_run-1_bold.dtseries.nii")
    found = find_runs(catalog(), tmp_path)
    assert [run.key for run in found.runs] == ["2/A"]
    ((run, error),) = found.unusable
    assert run.key == "1/A"
    assert "second 0 of A was shown to 1 more than once (sub-1/A_run-1_bold" in str(error)
    assert "say in `plays` where (film_start)" in str(error)


def test_a_scan_more_than_there_are_rules_is_told(tmp_path):
    write(tmp_path, *(f"sub-1/A_run-{run}_bold.dtseries.nii" for run in (1, 2, 3)))
    found = find_runs(catalog(movies=[movie(plays=[{}, {"film_start": 100}])]), tmp_path)
    assert "plays of A: has 2 rules, and there is another scan of it" in str(found.unusable[0][1])
    assert not found.runs


def table_of(folder, *lines, header="subject session run movie onset film_start duration"):
    text = "\n".join("\t".join(line.split()) for line in (header, *lines))
    (folder / "plays.tsv").write_text(text + "\n")


ONE_FILE = {"bold": ["sub-{subject}/run-{run}.dtseries.nii"], "plays": {"table": "plays.tsv"}}


def test_a_table_says_what_each_scan_showed_with_lines_of_subjects_where_they_differ(tmp_path):
    write(tmp_path, *(f"sub-{subject}/run-{run}.dtseries.nii" for subject in (1, 2) for run in (1, 2)))
    table_of(
        tmp_path,
        "n/a n/a 1 A 7.3 0 100",
        "n/a n/a 1 B 120 0 n/a",
        "n/a n/a run-02 A 5 100 n/a",
        "sub-2 n/a 1 A 30.5 10 90",
    )
    release = look_at(catalog(**ONE_FILE), tmp_path)
    found = release.found
    assert plays_of(found) == {
        "1/A": [(Play(7.3, 0.0, 100.0),), (Play(5.0, 100.0, None),)],
        "1/B": [(Play(120.0, 0.0, None),)],
        "2/A": [(Play(30.5, 10.0, 90.0),)],
        "2/B": [(Play(120.0, 0.0, None),)],
    }
    assert files_of(found)["1/B"] == [("sub-1/run-1.dtseries.nii",)]
    assert [(one.path, one.reason) for one in found.passed_over] == [
        ("sub-2/run-2.dtseries.nii", "plays.tsv has no line of it")
    ]


def test_subjects_of_a_table_may_be_written_with_or_without_sub(tmp_path):
    write(tmp_path, "sub-01_run-1.nii", "sub-02_run-1.nii")
    whole = {"bold": ["{subject}_run-{run}.nii"], "subject_pattern": "sub-[0-9]+", "plays": ONE_FILE["plays"]}
    table_of(tmp_path, "sub-01 n/a 1 A 3 0 50", "02 n/a 1 A 4 0 50")
    assert plays_of(find_runs(catalog(**whole), tmp_path)) == {
        "sub-01/A": [(Play(3.0, 0.0, 50.0),)],
        "sub-02/A": [(Play(4.0, 0.0, 50.0),)],
    }
    table_of(tmp_path, "sub-03 n/a 1 A 3 0 50")
    with pytest.raises(
        UserError, match=r"no scan shows a movie of catalog mini: plays\.tsv: line 2 is of no sc"
    ):
        find_runs(catalog(**whole), tmp_path)


def test_one_scan_of_several_films_is_not_one_file_twice(tmp_path):
    write(tmp_path, "sub-1/run-1.dtseries.nii", "sub-2/run-1.dtseries.nii")
    table_of(tmp_path, "n/a n/a 1 A 0 0 100", "n/a n/a 1 B 120 0 100")
    found = find_runs(catalog(**ONE_FILE), tmp_path)
    assert sorted(run.key for run in found.runs) == ["1/A", "1/B", "2/A", "2/B"]
    (tmp_path / "sub-3").mkdir()
    (tmp_path / "sub-3/run-1.dtseries.nii").symlink_to("../sub-1/run-1.dtseries.nii")
    found = find_runs(catalog(**ONE_FILE), tmp_path)
    assert sorted(run.key for run in found.runs) == ["1/A", "1/B", "2/A", "2/B"]
    assert "is a link to the run 1/A" in {one.reason for one in found.passed_over}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 n/a 1 C 0 0 1", r"plays.tsv, line 2: movie is 'C'; the catalog has A, B"),
        ("1 n/a 1 A soon 0 1", r"line 2: onset is 'soon'; seconds from 0 on are needed"),
        ("1 n/a 1 A nan 0 1", r"line 2: onset is 'nan'"),
        ("1 n/a 1 A n/a 0 1", r"line 2: has no onset"),
        ("1 n/a 1 A -3 0 1", r"line 2: onset is '-3'"),
        ("1 n/a 1 A 0 0 0", r"line 2: duration is '0'"),
        ("1 n/a 1 A 0 0", r"line 2: has 6 columns, the header has 7"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path, line, said):
    write(tmp_path, "sub-1/run-1.dtseries.nii")
    table_of(tmp_path, line)
    with pytest.raises(UserError, match=said):
        find_runs(catalog(**ONE_FILE), tmp_path)


def test_what_is_no_table_is_one_message(tmp_path):
    write(tmp_path, "sub-1/run-1.dtseries.nii")
    with pytest.raises(UserError, match=r"there is no plays\.tsv in"):
        find_runs(catalog(**ONE_FILE), tmp_path)
    table_of(tmp_path, header="movie start")
    with pytest.raises(UserError, match=r"has no column 'onset'; its first line has movie, start"):
        find_runs(catalog(**ONE_FILE), tmp_path)
    table_of(tmp_path, header="movie onset onset")
    with pytest.raises(UserError, match="has a column twice"):
        find_runs(catalog(**ONE_FILE), tmp_path)
    (tmp_path / "plays.tsv").write_bytes(b"movie\tonset\n\xff\xfe\t1\n")
    with pytest.raises(UserError, match="is no table in UTF-8"):
        find_runs(catalog(**ONE_FILE), tmp_path)


def test_films_of_one_scan_may_not_overlap_nor_a_film_be_seen_twice(tmp_path):
    write(tmp_path, "sub-1/run-1.dtseries.nii", "sub-1/run-2.dtseries.nii")
    table_of(tmp_path, "1 n/a 1 A 0 0 50", "1 n/a 1 A 40 60 50")
    (fault,) = find_runs(catalog(**ONE_FILE, movies=MINIMAL["movies"]), tmp_path).unusable
    assert "A is shown from 0 s on and again from 40 s on, before that ends" in str(fault[1])
    table_of(tmp_path, "1 n/a 1 A 0 0 50", "1 n/a 2 A 0 49 50")
    (fault,) = find_runs(catalog(**ONE_FILE), tmp_path).unusable
    assert "second 49 of A was shown to 1 more than once" in str(fault[1])


def write_events(folder, name, *lines, header="onset duration trial_type"):
    text = "\n".join("\t".join(line.split()) for line in (header, *lines))
    (folder / name).write_text(text + "\n")


BY_MOVIE = {"bold": ["sub-{subject}/{movie}_space-x_bold.dtseries.nii"]}


def test_events_say_when_the_film_was_on(tmp_path):
    write(tmp_path, "sub-1/A_space-x_bold.dtseries.nii", "sub-2/A_space-x_bold.dtseries.nii")
    write_events(tmp_path, "sub-1/A_events.tsv", "2 4 cross", "94.2 600 film", "700 3 cross")
    found = find_runs(catalog(**BY_MOVIE, plays={"events": {"trial_type": "film"}}), tmp_path)
    assert plays_of(found) == {"1/A": [(Play(94.2, 0.0, 600.0),)]}
    ((run, error),) = found.unusable
    assert run.key == "2/A"
    assert "has no events.tsv, which `plays.events` of the catalog reads" in str(error)


def test_events_name_the_film_and_its_time(tmp_path):
    """A row per picture is one play; a pause breaks it; a film that the catalog has not is told."""
    write(tmp_path, "sub-1/run-1_bold.dtseries.nii")
    frames = [f"{10 + k / 25:.2f} 0.04 {k / 25:.2f} clips/A.mp4" for k in range(100)]
    more = [f"{30 + k / 25:.2f} 0.04 {4 + k / 25:.2f} clips/A.mp4" for k in range(50)]
    others = ["50 3 0 B", "60 3 0 clips/C.mp4", "70 3 0 n/a", "80 3 n/a B"]
    header = "onset duration time stim_file"
    write_events(tmp_path, "sub-1/run-1_events.tsv", *frames, *more, *others, header=header)
    events = {"events": {"movie": "stim_file", "film_start": "time"}}
    release = look_at(catalog(bold=["sub-{subject}/run-{run}_bold.dtseries.nii"], plays=events), tmp_path)
    found = {(one.movie.name, one.play.onset): one.play for one in release.plays.lines}
    assert list(found) == [("A", 10.0), ("A", 30.0), ("B", 50.0)]
    assert found["A", 10.0].duration == pytest.approx(4.0)
    assert found["A", 30.0].film_start == 4.0
    assert found["A", 30.0].duration == pytest.approx(2.0)
    assert "its events show 'clips/C.mp4' (1 rows), no movie of the catalog" in {
        one.reason for one in release.plays.without
    }


def test_three_second_clips_are_movies_and_one_that_is_shown_again_is_another(tmp_path):
    names = [f"c{k}" for k in range(200)]
    movies = [movie(name, seconds=3) for name in names] + [movie("c7_2", video="c7.mp4", seconds=3)]
    lines = [f"{5 + 4 * k} 3 {name}" for k, name in enumerate([*names, "c7"])]
    write(tmp_path, "sub-1/run-1_bold.dtseries.nii")
    write_events(tmp_path, "sub-1/run-1_events.tsv", *lines, header="onset duration stim_file")
    clips = catalog(
        bold=["sub-{subject}/run-{run}_bold.dtseries.nii"],
        plays={"events": {"movie": "stim_file"}},
        movies=movies,
    )
    found = find_runs(clips, tmp_path)
    assert len(found.runs) == 201
    assert plays_of(found)["1/c7"] == [(Play(33.0, 0.0, 3.0),)]
    assert plays_of(found)["1/c7_2"] == [(Play(805.0, 0.0, 3.0),)]


def test_events_from_before_the_scan_began_are_of_the_film_as_it_went_on(tmp_path):
    write(tmp_path, "sub-1/A_space-x_bold.dtseries.nii")
    write_events(tmp_path, "sub-1/A_events.tsv", "-6 100 film")
    found = find_runs(catalog(**BY_MOVIE, plays={"events": {"trial_type": ["film"]}}), tmp_path)
    assert plays_of(found) == {"1/A": [(Play(0.0, 6.0, 94.0),)]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"plays": {"onset": 3, "table": "x.tsv"}}, "table and onset are given: say it in one way"),
        ({"plays": {"onset": -3}}, r"plays\.onset: Input should be greater than or equal to 0"),
        ({"plays": {"onset": float("nan")}}, r"plays\.onset: Input should be a finite number"),
        ({"plays": {"table": "../x.tsv"}}, r"plays\.table: .* may not have '\.\.'"),
        ({"plays": {"events": {"trial_type": []}}}, r"must be a value of the column or a list of them"),
        ({"plays": "sometimes"}, r"plays: Input should be"),
        ({"bold": ["sub-{subject}/x.nii"]}, r"or `plays` must say what was shown in each scan"),
        ({"movies": [movie(volumes=300, seconds=None)]}, r"volumes: counts volumes of 1 s where tr is 1\.0"),
        ({"movies": [movie(plays=[])]}, r"movies\[0\]\.plays: Value should have at least 1 item"),
    ],
)
def test_a_wrong_rule_is_named(changes, said):
    with pytest.raises(UserError, match=said):
        catalog(**changes)


TIMES = st.integers(0, 2000).map(lambda tenth: tenth / 10)


@st.composite
def cuts(draw):
    """A film cut into pieces, which are shown in scans one after another with pauses between."""
    edges = sorted(draw(st.sets(st.integers(0, 300), min_size=2, max_size=9)))
    scans = draw(st.integers(1, 4))
    where = sorted(
        draw(st.lists(st.integers(0, scans - 1), min_size=len(edges) - 1, max_size=len(edges) - 1))
    )
    pieces, clock = [], dict.fromkeys(range(scans), 0.0)
    for scan, begin, end in zip(where, edges, edges[1:], strict=False):
        onset = clock[scan] + draw(TIMES)
        pieces.append((scan, Play(onset, float(begin), float(end - begin))))
        clock[scan] = onset + end - begin
    return pieces


@settings(max_examples=60, deadline=None)
@given(pieces=cuts(), shuffled=st.randoms(use_true_random=False))
def test_however_a_film_was_cut_each_second_is_shown_once(pieces, shuffled, tmp_path_factory):
    """What a table says of pieces in any order of lines is what a run has, sorted by time."""
    folder = tmp_path_factory.mktemp("cut")
    scans = [
        NamedScan("1", "", str(k), None, Scan((folder / f"{k}.nii",), (f"{k}.nii",)))
        for k in range(1 + max(scan for scan, _ in pieces))
    ]
    lines = [f"1 n/a {scan} A {p.onset} {p.film_start} {p.duration}" for scan, p in pieces]
    shuffled.shuffle(lines)
    table_of(folder, *lines)
    table = play_table(catalog(**ONE_FILE), scans, folder)
    ((run, error),) = table.runs()
    assert error is None
    given_back = [(part.scan.relative[0], play) for part in run.parts for play in part.plays]
    assert sorted(given_back, key=str) == sorted([(f"{k}.nii", play) for k, play in pieces], key=str)
    for part in run.parts:
        assert [play.onset for play in part.plays] == sorted(play.onset for play in part.plays)


@settings(max_examples=60, deadline=None)
@given(pieces=cuts(), moved=st.data())
def test_a_piece_that_is_shown_twice_is_always_told(pieces, moved, tmp_path_factory):
    folder = tmp_path_factory.mktemp("twice")
    _, again = moved.draw(st.sampled_from(pieces))
    last = 1 + max(scan for scan, _ in pieces)
    scans = [
        NamedScan("1", "", str(k), None, Scan((folder / f"{k}.nii",), (f"{k}.nii",))) for k in range(last + 1)
    ]
    table_of(
        folder,
        *(f"1 n/a {scan} A {p.onset} {p.film_start} {p.duration}" for scan, p in [*pieces, (last, again)]),
    )
    ((_, error),) = play_table(catalog(**ONE_FILE), scans, folder).runs()
    assert "was shown to 1 more than once" in str(error)


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_table_or_a_message(content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "plays.tsv").write_bytes(b"movie\tonset\n" + content)
    scans = [NamedScan("1", "", "", None, Scan((folder / "1.nii",), ("1.nii",)))]
    try:
        play_table(catalog(**ONE_FILE), scans, folder)
    except UserError as error:
        if "plays.tsv" not in str(error):
            raise


def test_what_was_shown_is_listed_with_what_is_missing(tmp_path):
    write_dtseries(tmp_path / "bold/sub-1/A_run-1_bold.dtseries.nii", noise("32k", 40))
    write_dtseries(tmp_path / "bold/sub-2/A_run-1_bold.dtseries.nii", noise("32k", 30))
    write(tmp_path, "bold/sub-2/B_run-1_bold.dtseries.nii")
    (tmp_path / "mini.yaml").write_text(yaml.safe_dump(MINIMAL | {"plays": {"onset": 7.3, "duration": 30}}))
    found = simdata.plays(tmp_path / "mini.yaml", source=tmp_path / "bold", movies=tmp_path)
    columns = ["subject", "run", "movie", "onset", "film_start", "duration", "scan_seconds", "tr"]
    assert found.table[columns].values.tolist()[:2] == [
        ["1", "1", "A", 7.3, 0.0, 30.0, 40.0, 1.0],
        ["2", "1", "A", 7.3, 0.0, 30.0, 30.0, 1.0],
    ]
    said = dict(found.missing)
    assert said["sub-2/A_run-1_bold.dtseries.nii"] == "A goes on for 7.3 s when the scan has ended"
    assert said["B"] == "not seen by 1"
    assert "sub-2/B_run-1_bold.dtseries.nii" in said
    assert "has no film of A (looked for A.mp4)" in said["film of A"]


def test_the_table_that_the_command_writes_can_be_a_catalogs(tmp_path):
    for subject, volumes in (("1", 40), ("2", 30)):
        write_dtseries(tmp_path / f"bold/sub-{subject}/A_run-1_bold.dtseries.nii", noise("32k", volumes))
    rule = MINIMAL | {"plays": {"onset": 7.3, "duration": 20}, "movies": [movie()]}
    (tmp_path / "mini.yaml").write_text(yaml.safe_dump(rule))
    places = ["--source", tmp_path / "bold", "--out", tmp_path / "plays.tsv"]
    shown = call("plays", tmp_path / "mini.yaml", *places)
    assert shown.exit_code == 0, shown.output
    assert " ".join(shown.output.split()).count("7.3") == 2
    (tmp_path / "edited.yaml").write_text(yaml.safe_dump(rule | {"plays": {"table": "plays.tsv"}}))
    by_rule, by_table = (
        simdata.plays(tmp_path / f"{name}.yaml", source=tmp_path / "bold") for name in ("mini", "edited")
    )
    assert by_table.table.equals(by_rule.table)
    assert by_table.missing == []
    short = call("plays", tmp_path / "mini.yaml", *places[:2], "--movies", tmp_path)
    assert short.exit_code == 3
    assert "film of A: `movies`" in " ".join(short.output.split())
