import os
from types import SimpleNamespace

import pytest

from simdata.common.errors import UserError
from simdata.release import catalog as catalogs
from simdata.release.found_runs import find_runs
from simdata.release.pattern_scans import find_subjects
from simdata.release.sources import entries, find_film
from simdata.release.survey import survey

HCP, _ = catalogs.load("hcp7t-movie")
ENDINGS = (".dtseries.nii", ".dtseries.nii.gz", ".nii", ".nii.gz")


def touch_run(folder, subject, movie, pattern=0):
    movie = next(m for m in HCP.movies if m.name == movie)
    fields = {"subject": subject, "movie": movie.name, "phase_encoding": movie.phase_encoding}
    path = folder / HCP.bold[pattern].format(**fields)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"run")
    return path


def test_runs_are_found_by_subject_then_movie_and_missing_ones_left_out(tmp_path):
    touch_run(tmp_path, "200000", "MOVIE2")
    touch_run(tmp_path, "100610", "MOVIE4")
    touch_run(tmp_path, "100610", "MOVIE1")
    (tmp_path / "300000").mkdir()
    (tmp_path / "logs").mkdir()
    assert find_subjects(HCP, tmp_path) == ["100610", "200000", "300000"]
    assert [run.key for run in find_runs(HCP, tmp_path).runs] == [
        "100610/MOVIE1",
        "100610/MOVIE4",
        "200000/MOVIE2",
    ]


def test_the_first_pattern_wins(tmp_path):
    touch_run(tmp_path, "100610", "MOVIE1", pattern=1)
    assert "1.6mm" not in find_runs(HCP, tmp_path).runs[0].relative
    best = touch_run(tmp_path, "100610", "MOVIE1", pattern=0)
    assert find_runs(HCP, tmp_path).runs[0].path == best


def test_other_layouts_need_only_another_pattern(tmp_path):
    bids = HCP.model_copy(
        update={
            "bold": ["sub-{subject}/func/sub-{subject}_task-{movie}_bold.dtseries.nii"],
            "subject_pattern": "[A-Za-z]+",
        }
    )
    path = tmp_path / "sub-anna/func/sub-anna_task-MOVIE1_bold.dtseries.nii"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"run")
    (tmp_path / "sub-").mkdir()
    runs = find_runs(bids, tmp_path).runs
    assert [(run.subject, run.path) for run in runs] == [("anna", path)]


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        find_runs(HCP, tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"has no run of catalog hcp7t-movie. It looks for"):
        find_runs(HCP, tmp_path)
    touch_run(tmp_path, "100610", "MOVIE1")
    with pytest.raises(UserError, match="has no run of subject 999999"):
        find_runs(HCP, tmp_path, ["100610", "999999"])
    assert [run.subject for run in find_runs(HCP, tmp_path, ["100610"]).runs] == ["100610"]


def test_films_are_found_with_any_version_suffix(tmp_path):
    movie = HCP.movies[0]
    with pytest.raises(UserError, match=r"no film of MOVIE1 \(looked for 7T_MOVIE1_CC1\*\.mp4\)"):
        find_film(movie, tmp_path)
    (tmp_path / "7T_MOVIE1_CC1_v2.mp4").write_bytes(b"film")
    assert find_film(movie, tmp_path).relative == "7T_MOVIE1_CC1_v2.mp4"
    (tmp_path / "7T_MOVIE1_CC1.mp4").write_bytes(b"film")
    with pytest.raises(UserError, match="several films of MOVIE1"):
        find_film(movie, tmp_path)


def annex_link(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to("../.git/annex/objects/x1/2k/MD5E-s5--a/MD5E-s5--a")


def test_runs_that_were_not_fetched_are_unusable_and_their_subject_is_seen(tmp_path):
    touch_run(tmp_path, "100610", "MOVIE1")
    for movie in ("MOVIE1", "MOVIE2"):
        annex_link(touch_run(tmp_path, "200000", movie))
    found = find_runs(HCP, tmp_path)
    assert [run.key for run in found.runs] == ["100610/MOVIE1"]
    assert [run.key for run, _ in found.unusable] == ["200000/MOVIE1", "200000/MOVIE2"]
    assert all("content not fetched" in str(error) for _, error in found.unusable)
    assert found.with_runs == ["100610", "200000"]


def test_a_later_product_stands_in_for_one_that_was_not_fetched_and_that_is_said(tmp_path):
    better = touch_run(tmp_path, "100610", "MOVIE1")
    annex_link(better)
    second = touch_run(tmp_path, "100610", "MOVIE1", pattern=1)
    found = find_runs(HCP, tmp_path)
    assert [run.path for run in found.runs] == [second]
    assert [(one.path, "not fetched" in one.reason) for one in found.passed_over] == [
        (str(better.relative_to(tmp_path)), True)
    ]
    better.unlink()
    better.touch()
    found = find_runs(HCP, tmp_path)
    assert not found.runs, "an empty file is an accident, which another product must not hide"
    assert "0 bytes" in str(found.unusable[0][1])


@pytest.mark.parametrize("where", ["100610", "100610/MNINonLinear", "100610/MNINonLinear/Results"])
def test_folders_that_are_links_to_nowhere_or_circles_are_unusable(tmp_path, where):
    touch_run(tmp_path, "200000", "MOVIE1")
    folder = tmp_path / where
    folder.parent.mkdir(parents=True, exist_ok=True)
    for target, message in (("/mnt/elsewhere", "content not fetched"), (folder.name, "in a circle")):
        folder.symlink_to(target)
        found = find_runs(HCP, tmp_path)
        assert [run.subject for run, _ in found.unusable] == ["100610"] * 4
        assert all(message in str(error) for _, error in found.unusable)
        folder.unlink()


FLAT = {"bold": ["{subject}_{movie}.dtseries.nii"], "subject_pattern": "[a-z]+[0-9]*"}
BY_MOVIE = {"bold": ["{movie}/{subject}.dtseries.nii"], "subject_pattern": "[0-9]+"}


def test_flat_folders_are_searched_for_compressed_runs_too(tmp_path):
    flat = HCP.model_copy(update=FLAT)
    for name in ("anna_MOVIE1.dtseries.nii.gz", "ben2_MOVIE1.dtseries.nii", "carl_OTHER.dtseries.nii.gz"):
        (tmp_path / name).write_bytes(b"run")
    (tmp_path / "._ben2_MOVIE1.dtseries.nii").write_bytes(b"macOS")
    found = find_runs(flat, tmp_path)
    assert [run.relative for run in found.runs] == ["anna_MOVIE1.dtseries.nii.gz", "ben2_MOVIE1.dtseries.nii"]
    rejected = survey(flat, tmp_path, found, ENDINGS)
    assert [(one.path, one.reason) for one in rejected] == [
        ("carl_OTHER.dtseries.nii.gz", "is of no movie of the catalog")
    ]


def test_stray_files_where_folders_are_expected_do_no_harm(tmp_path):
    by_movie = HCP.model_copy(update=BY_MOVIE)
    for place in ("MOVIE1/7.dtseries.nii", "README", ".DS_Store", "MOVIE2", "MOVIE5/7.dtseries.nii"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(b"file")
    found = find_runs(by_movie, tmp_path)
    assert [run.key for run in found.runs] == ["7/MOVIE1"]


def test_one_file_is_not_two_runs(tmp_path):
    path = touch_run(tmp_path, "100610", "MOVIE1")
    (tmp_path / "200000").symlink_to("100610")
    found = find_runs(HCP, tmp_path)
    assert [run.key for run in found.runs] == ["100610/MOVIE1"]
    assert [one.reason for one in found.passed_over] == ["is a link to the run 100610/MOVIE1"]
    (tmp_path / "200000").unlink()
    other = tmp_path / str(path.relative_to(tmp_path)).replace("100610", "200000")
    other.parent.mkdir(parents=True)
    other.hardlink_to(path)
    found = find_runs(HCP, tmp_path)
    assert not found.runs
    assert all("is the same file as" in str(error) for _, error in found.unusable)


def test_subjects_that_are_asked_for_must_be_ids(tmp_path):
    touch_run(tmp_path, "100610", "MOVIE1")
    for wrong in ("../100610", "10061", "100610/", ".."):
        with pytest.raises(UserError, match="is not an id of catalog"):
            find_runs(HCP, tmp_path, [wrong])
    free = HCP.model_copy(update={"subject_pattern": ".+"})
    for wrong in ("../100610", ".."):
        with pytest.raises(UserError, match="is not an id of catalog"):
            find_runs(free, tmp_path, [wrong])


def test_films_are_found_among_hidden_files_and_links(tmp_path):
    movie = HCP.movies[0].model_copy(update={"video": "*/*.mp4"})
    (tmp_path / "films").mkdir()
    (tmp_path / "stray").write_bytes(b"file")
    for name in ("._a.mp4", ".DS_Store", "notes.txt"):
        (tmp_path / "films" / name).write_bytes(b"hidden")
    annex_link(tmp_path / "films/a.mp4")
    with pytest.raises(UserError, match=r"films/a\.mp4: content not fetched"):
        find_film(movie, tmp_path)
    (tmp_path / "films/a.mp4").unlink()
    (tmp_path / "films/a.MP4").write_bytes(b"film")
    with pytest.raises(UserError, match=r"no film of MOVIE1 .*a\.MP4 differs in upper and lower case"):
        find_film(movie, tmp_path)
    plain = movie.model_copy(update={"video": "films/a.MP4"})
    assert find_film(plain, tmp_path).relative == "films/a.MP4"


def run_path(subject, movie="MOVIE1", phase_encoding="AP"):
    fields = {"subject": subject, "movie": movie, "phase_encoding": phase_encoding}
    return HCP.bold[0].format(**fields)


def below(path, folder):
    """A run's path with a folder between the subject's and the rest."""
    subject, rest = path.split("/", 1)
    return f"{subject}/{folder}/{rest}"


IRREGULAR = {
    below(run_path("100002"), "100002"): "lies in another folder",
    below(run_path("100003"), "ses-01"): "lies in another folder",
    run_path("100004").replace("100004/", "100004_v2/"): "its name is not that of a subject",
    run_path("100005").replace("100005/", "100005_old/"): "its name is not that of a subject",
    run_path("sub-100006"): "its name is not that of a subject",
    run_path("10007"): "its name is not that of a subject",
    run_path("100008", phase_encoding="PA"): "its name says phase encoding PA, the catalog AP",
    run_path("100009", movie="MOVIE5"): "is of no movie of the catalog",
    run_path("100010").replace(".dtseries.nii", ".dtseries (1).nii"): "is not named as",
    run_path("100011").replace("_1.6mm", "_0.9mm"): "is not named as",
    run_path("100012").replace("MNINonLinear/Results", "mninonlinear/results"): "upper and lower case",
    "100013/MNINonLinear/x.txt": "holds no run of the catalog",
    "100014": "is a file, where the catalog expects a subject's folder",
    "100015_7T_MOVIE.zip": "unpack it",
    "retest/" + run_path("100016"): "its name is not that of a subject",
}


@pytest.mark.parametrize("path", IRREGULAR)
def test_what_looks_like_a_subject_or_a_run_and_is_not_taken_is_listed_with_the_reason(tmp_path, path):
    touch_run(tmp_path, "990001", "MOVIE1")
    (tmp_path / "logs").mkdir()
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_bytes(b"run")
    found = find_runs(HCP, tmp_path)
    assert [run.key for run in found.runs] == ["990001/MOVIE1"]
    (rejected,) = survey(HCP, tmp_path, found, ENDINGS)
    assert IRREGULAR[path] in rejected.reason
    assert path.startswith(rejected.path)


def test_other_products_hidden_files_and_absent_runs_are_no_findings(tmp_path):
    for movie in HCP.movies:
        touch_run(tmp_path, "100610", movie.name)
        touch_run(tmp_path, "100610", movie.name, pattern=1)
    beside = touch_run(tmp_path, "200000", "MOVIE1").parent
    for name in ("tfMRI_MOVIE1_7T_AP_Atlas.dtseries.nii", "._tfMRI_MOVIE1_7T_AP_Atlas.dtseries.nii", "x.txt"):
        (beside / name).write_bytes(b"other")
    rest = "200000/MNINonLinear/Results/rfMRI_REST1_7T_PA/rfMRI_REST1_7T_PA_Atlas.dtseries.nii"
    (tmp_path / rest).parent.mkdir()
    (tmp_path / rest).write_bytes(b"rest")
    assert survey(HCP, tmp_path, find_runs(HCP, tmp_path), ENDINGS) == []


def test_what_looks_like_a_run_is_told_by_the_endings_of_formats(tmp_path):
    """Of several words: .nii is also that of anatomy, .npz of anything."""
    touch_run(tmp_path, "100610", "MOVIE1")
    names = {
        "MOVIE2_T1w.nii.gz": False,
        "MOVIE2.npz": False,
        "sub_MOVIE2.dtseries.nii.gz": True,
        "MOVIE2_bold.L.func.gii": True,
    }
    for name in names:
        (tmp_path / "100610" / name).write_bytes(b"file")
    rejected = survey(HCP, tmp_path, find_runs(HCP, tmp_path), [*ENDINGS, ".npz", "_bold.func.gii"])
    assert sorted(one.path for one in rejected) == sorted(f"100610/{name}" for name in names if names[name])
    assert survey(HCP, tmp_path, find_runs(HCP, tmp_path), []) == []


def test_empty_folders_names_that_are_no_text_and_circles_are_dealt_with(tmp_path):
    touch_run(tmp_path, "990001", "MOVIE1")
    (tmp_path / "100001").mkdir()
    (tmp_path / "100002").mkdir()
    (tmp_path / "100002/again").symlink_to(".")
    os.mkdir(os.fsencode(tmp_path) + b"/1000\xff3")
    found = find_runs(HCP, tmp_path)
    reasons = {os.fsencode(one.path): one.reason for one in survey(HCP, tmp_path, found, ENDINGS)}
    assert reasons == {
        b"100001": "is an empty folder",
        b"100002": "holds no run of the catalog",
        b"1000\xff3": "its name is not UTF-8; rename it",
    }
    assert found.subjects == ["100001", "100002", "990001"]


def test_looking_around_ends_on_big_trees(tmp_path, monkeypatch):
    monkeypatch.setattr("simdata.release.survey.MOST_ENTRIES", 300)
    monkeypatch.setattr("simdata.release.survey.MOST_OF_A_FOLDER", 50)
    listed = []
    monkeypatch.setattr(
        "simdata.release.survey.entries", lambda folder: listed.append(folder) or entries(folder)
    )
    for subject in range(100001, 100021):
        for folder in "abcdefgh":
            (tmp_path / str(subject) / folder / "deep").mkdir(parents=True)
            for number in range(5):
                (tmp_path / str(subject) / folder / f"{number}.txt").touch()
    touch_run(tmp_path, "990001", "MOVIE1")
    rejected = survey(HCP, tmp_path, find_runs(HCP, tmp_path), ENDINGS)
    assert any("the others were not looked at" in one.reason for one in rejected)
    assert len(listed) < 120


def test_a_film_may_have_signs_of_patterns_in_its_name(tmp_path):
    for name in ("A [1080p] (1).mp4", "A*.mp4", "A 1.mp4"):
        (tmp_path / name).write_bytes(b"film")
        movie = SimpleNamespace(name="A", video=name, transcript=None)
        assert find_film(movie, tmp_path).relative == name
