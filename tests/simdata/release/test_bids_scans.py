"""A BIDS catalog's movies and runs, as a tree has them."""

import pytest
import yaml
from bids_trees import write_fmriprep, write_raw

import simdata
from simdata.common.errors import UserError
from simdata.release.bids_movies import with_seen_movies
from simdata.release.catalog import parse, text_of
from simdata.release.found_runs import find_runs, look_at
from simdata.release.sources import Play
from simdata.release.survey import survey

ENDINGS = (".dtseries.nii", ".nii.gz", ".func.gii")
KEYS = {
    "name": "friends",
    "title": "Friends",
    "stimulus_lag": 6,
    "bold": {"space": "fsLR", "den": "91k"},
    "movie": "{task}",
    "films": "{movie}*.mkv",
}


def catalog_of(**keys):
    return parse(yaml.safe_dump({**KEYS, **keys}), "test")


def seen(catalog, source, known=()):
    found = with_seen_movies(catalog, source, ENDINGS, known)
    assert parse(text_of(found), "again") == found, "a store keeps it as text"
    return found


@pytest.fixture
def tree(tmp_path):
    for scan in ("sub-01_ses-1_task-s10", "sub-01_ses-2_task-s9", "sub-02_ses-1_task-s9", "sub-02_task-rest"):
        write_fmriprep(tmp_path, scan)
    for run in (1, 2):
        write_fmriprep(tmp_path, f"sub-01_ses-3_task-life_run-{run}")
    return tmp_path


def test_movies_are_those_of_the_tree_in_the_order_of_their_names(tree):
    found = seen(catalog_of(repeat="{run}"), tree)
    assert [(movie.name, movie.video) for movie in found.movies] == [
        ("life_run-1", "life*.mkv"),
        ("life_run-2", "life*.mkv"),
        ("s9", "s9*.mkv"),
        ("s10", "s10*.mkv"),
    ]
    again = seen(catalog_of(repeat="{run}"), tree, known=["s10", "gone", "s9"])
    assert [movie.name for movie in again.movies] == ["s10", "gone", "s9", "life_run-1", "life_run-2"]


def test_listed_movies_have_what_is_said_and_unseen_ones_are_left_out(tree):
    listed = [
        {"name": "life", "video": "gone_with_the_wind.mp4", "plays": {"onset": 7.3}},
        {"name": "s9", "seconds": 40},
        {"name": "s11"},
    ]
    found = seen(catalog_of(repeat="{run}", movies=listed), tree)
    assert [(movie.name, movie.video) for movie in found.movies] == [
        ("s9", "s9*.mkv"),
        ("life_run-1", "gone_with_the_wind.mp4"),
        ("life_run-2", "gone_with_the_wind.mp4"),
        ("s10", "s10*.mkv"),
    ]
    runs = find_runs(found, tree, None, ENDINGS).runs
    assert [run.key for run in runs] == ["01/s9", "01/life_run-1", "01/life_run-2", "01/s10", "02/s9"]
    assert [run.parts[0].plays[0].onset for run in runs] == [0, 7.3, 7.3, 0, 0]


def test_transcripts_are_found_as_films_are_but_for_movies_that_have_none(tree):
    listed = [{"name": "s9", "transcript": None}, {"name": "s10", "transcript": "words/ten.json"}]
    found = seen(catalog_of(repeat="{run}", movies=listed, transcripts="words/{movie}.tsv"), tree)
    assert {movie.name: movie.transcript for movie in found.movies} == {
        "life_run-1": "words/life.tsv",
        "life_run-2": "words/life.tsv",
        "s9": None,
        "s10": "words/ten.json",
    }


def test_without_films_the_listed_movies_are_all(tree):
    movies = [{"name": "s9", "video": "a.mkv"}, {"name": "s8", "video": "b.mkv"}]
    keys = {key: value for key, value in KEYS.items() if key != "films"}
    catalog = parse(yaml.safe_dump({**keys, "movies": movies}), "test")
    found = seen(catalog, tree)
    assert [movie.name for movie in found.movies] == ["s9"]
    release = find_runs(found, tree, None, ENDINGS)
    told = {one.reason for one in survey(found, tree, release, ENDINGS)}
    assert {"is of no movie of the catalog (s10)", "is a scan at rest"} <= told


def test_splits_are_those_of_the_movies_that_there_are(tree):
    scenes = {
        "movies": {"test": ["s1*"], "val": ["s*"], "train": ["x*"]},
        "clips": {"val": ["s9", "other"]},
        "clip_fractions": {"another": {"test": [0.0, 0.5]}},
        "guard": 20,
    }
    found = seen(catalog_of(splits={"scenes": scenes}, repeat="{run}"), tree).splits.scenes
    assert found.movies == {"test": ["s10"], "val": ["s9"], "train": []}
    assert found.clips == {"val": ["s9"]}
    assert found.clip_fractions == {}


def test_parts_of_a_film_are_one_cell_where_plays_say_what_each_shows(tree):
    plays = [{"duration": 5}, {"film_start": 5}]
    found = seen(catalog_of(movies=[{"name": "life", "plays": plays}]), tree)
    runs = {run.key: run for run in find_runs(found, tree, None, ENDINGS).runs}
    parts = runs["01/life"].parts
    assert [part.scan.relative[0].split("_")[3] for part in parts] == ["run-1", "run-2"]
    assert [part.plays for part in parts] == [(Play(0, 0, 5),), (Play(0, 5, None),)]
    unsaid = seen(catalog_of(), tree)
    ((run, error),) = find_runs(unsaid, tree, None, ENDINGS).unusable
    assert run.key == "01/life"
    assert "was shown to 01 more than once" in str(error)


def test_events_of_the_raw_tree_are_read(tmp_path):
    derivative = tmp_path / "derivatives/fmriprep"
    for subject, onset in (("01", 7.3), ("02", 31)):
        write_fmriprep(derivative, f"sub-{subject}_task-film")
        rows = f"onset\tduration\ttrial_type\n0\t5\tfixation\n{onset}\t60\tfilm\n"
        write_raw(tmp_path, f"sub-{subject}_task-film", rows)
    catalog = catalog_of(plays={"events": {"trial_type": "film"}})
    runs = find_runs(seen(catalog, derivative), derivative, None, ENDINGS).runs
    assert [run.parts[0].plays for run in runs] == [(Play(7.3, 0, 60),), (Play(31, 0, 60),)]


def test_a_table_may_say_what_was_shown_in_any_scan(tmp_path):
    write_fmriprep(tmp_path, "sub-01_task-movies_run-1")
    (tmp_path / "plays.tsv").write_text(
        "subject\trun\tmovie\tonset\tduration\n01\t1\tA\t3\t10\n01\t1\tB\t20\t10\n"
    )
    catalog = catalog_of(plays={"table": "plays.tsv"}, movies=[{"name": "A"}, {"name": "B"}])
    assert with_seen_movies(catalog, tmp_path, ENDINGS) is catalog
    assert [run.key for run in find_runs(catalog, tmp_path, None, ENDINGS).runs] == ["01/A", "01/B"]


def test_links_are_no_second_subject_and_a_reserved_name_is_said(tmp_path):
    write_fmriprep(tmp_path, "sub-01_task-s9")
    write_fmriprep(tmp_path, "sub-film_task-s9")
    link = tmp_path / "sub-02/func/sub-02_task-s9_space-fsLR_den-91k_bold.dtseries.nii"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "sub-01/func/sub-01_task-s9_space-fsLR_den-91k_bold.dtseries.nii")
    found = look_at(seen(catalog_of(), tmp_path), tmp_path, None, ENDINGS).found
    assert [run.key for run in found.runs] == ["01/s9"]
    told = {one.path.split("/")[0]: one.reason for one in found.passed_over}
    assert told["sub-02"] == "is a link to the run 01/s9"
    assert "no subject may be called 'film'" in told["sub-film"]


def test_subjects_that_are_asked_for_are_those_alone(tree):
    catalog = seen(catalog_of(repeat="{run}"), tree)
    assert {run.subject for run in find_runs(catalog, tree, ["sub-02"], ENDINGS).runs} == {"02"}
    with pytest.raises(UserError, match="has no run of subject 03"):
        find_runs(catalog, tree, ["03"], ENDINGS)


def test_a_raw_tree_is_refused_by_plays_and_build(tmp_path):
    write_raw(tmp_path / "ds", "sub-01_task-film")
    command = r"fmriprep .*/ds .*/ds/derivatives/fmriprep participant --cifti-output 91k"
    with pytest.raises(UserError, match=command):
        simdata.plays(catalog_of(), source=tmp_path / "ds")
    with pytest.raises(UserError, match=command):
        simdata.build(catalog_of(), source=tmp_path / "ds", movies=tmp_path, out=tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()
