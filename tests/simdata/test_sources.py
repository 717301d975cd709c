import pytest

from simdata import catalog as catalogs
from simdata.errors import UserError
from simdata.sources import find_film, find_runs, find_subjects

HCP, _ = catalogs.load("hcp7t-movie")


def touch_run(folder, subject, movie, pattern=0):
    movie = next(m for m in HCP.movies if m.name == movie)
    fields = {"subject": subject, "movie": movie.name, "phase_encoding": movie.phase_encoding}
    path = folder / HCP.bold[pattern].format(**fields)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_runs_are_found_by_subject_then_movie_and_missing_ones_left_out(tmp_path):
    touch_run(tmp_path, "200000", "MOVIE2")
    touch_run(tmp_path, "100610", "MOVIE4")
    touch_run(tmp_path, "100610", "MOVIE1")
    (tmp_path / "300000").mkdir()
    (tmp_path / "logs").mkdir()
    assert find_subjects(HCP, tmp_path) == ["100610", "200000", "300000"]
    assert [run.key for run in find_runs(HCP, tmp_path)] == [
        "100610/MOVIE1",
        "100610/MOVIE4",
        "200000/MOVIE2",
    ]


def test_the_first_pattern_wins(tmp_path):
    touch_run(tmp_path, "100610", "MOVIE1", pattern=1)
    assert "1.6mm" not in find_runs(HCP, tmp_path)[0].relative
    best = touch_run(tmp_path, "100610", "MOVIE1", pattern=0)
    assert find_runs(HCP, tmp_path)[0].path == best


def test_other_layouts_need_only_another_pattern(tmp_path):
    bids = HCP.model_copy(
        update={
            "bold": ["sub-{subject}/func/sub-{subject}_task-{movie}_bold.dtseries.nii"],
            "subject_pattern": "[A-Za-z]+",
        }
    )
    path = tmp_path / "sub-anna/func/sub-anna_task-MOVIE1_bold.dtseries.nii"
    path.parent.mkdir(parents=True)
    path.touch()
    (tmp_path / "sub-").mkdir()
    runs = find_runs(bids, tmp_path)
    assert [(run.subject, run.path) for run in runs] == [("anna", path)]


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        find_runs(HCP, tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"has no run of catalog hcp7t-movie. It looks for"):
        find_runs(HCP, tmp_path)
    touch_run(tmp_path, "100610", "MOVIE1")
    with pytest.raises(UserError, match="has no run of subject 999999"):
        find_runs(HCP, tmp_path, ["100610", "999999"])
    assert [run.subject for run in find_runs(HCP, tmp_path, ["100610"])] == ["100610"]


def test_films_are_found_with_any_version_suffix(tmp_path):
    movie = HCP.movies[0]
    with pytest.raises(UserError, match=r"no film of MOVIE1 \(looked for 7T_MOVIE1_CC1\*\.mp4\)"):
        find_film(movie, tmp_path)
    (tmp_path / "7T_MOVIE1_CC1_v2.mp4").touch()
    assert find_film(movie, tmp_path).relative == "7T_MOVIE1_CC1_v2.mp4"
    (tmp_path / "7T_MOVIE1_CC1.mp4").touch()
    with pytest.raises(UserError, match="several films of MOVIE1"):
        find_film(movie, tmp_path)
