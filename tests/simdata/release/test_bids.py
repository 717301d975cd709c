import os

import nibabel as nib
import pytest
from bids_trees import FMRIPREP, folder_of, write_cifti, write_fmriprep, write_gifti, write_raw, write_volume

from simdata.common.errors import UserError
from simdata.release import bids_tree
from simdata.release.bids import find_scans
from simdata.release.bids_names import BidsSelection

ENDINGS = (".dtseries.nii", ".dtseries.nii.gz", ".nii", ".nii.gz", ".func.gii", ".func.gii.gz")
CIFTI = {"space": "fsLR", "den": "91k", "suffix": "bold"}


def scans_of(source, bold=CIFTI, movie="{task}", **options):
    return find_scans(source, BidsSelection(bold), movie=movie, endings=ENDINGS, **options)


def reasons(found):
    return {one.path: one.reason for one in found.rejected}


@pytest.mark.parametrize("version", FMRIPREP)
def test_names_of_all_versions_of_fmriprep_are_understood(tmp_path, version):
    write_fmriprep(tmp_path, "sub-01_ses-002_task-s01e02a", version, ("fsLR", "fsaverage6"))
    (one,) = scans_of(tmp_path).scans
    assert (one.subject, one.movie, one.repeat) == ("01", "s01e02a", "")
    assert nib.load(one.scan.files[0]).shape[0] == 5
    assert one.scan.relative == (
        "sub-01/ses-002/func/sub-01_ses-002_task-s01e02a_space-fsLR_den-91k_bold.dtseries.nii",
    )
    (pair,) = scans_of(tmp_path, {"space": "fsaverage6"}).scans
    assert [name.count("hemi-L") for name in pair.scan.relative] == [1, 0]
    assert all(len(nib.load(path).darrays) == 5 for path in pair.scan.files)
    assert pair.scan.confounds.name == f"sub-01_ses-002_task-s01e02a_{FMRIPREP[version]['confounds']}"
    assert pair.scan.events is None


def test_sessions_may_differ_by_subject_and_runs_are_parts_in_order_of_their_numbers(tmp_path):
    for scan in (
        "sub-01_ses-006_task-life_run-2",
        "sub-01_ses-005_task-life_run-10",
        "sub-02_ses-01_task-life",
    ):
        write_fmriprep(tmp_path, scan)
    found = scans_of(tmp_path)
    assert found.subjects == ["01", "02"]
    assert [(one.subject, one.movie, one.entities.get("run")) for one in found.scans] == [
        ("01", "life", "2"),
        ("01", "life", "10"),
        ("02", "life", None),
    ]
    assert not found.rejected
    assert not found.unusable


def test_runs_may_be_repeats_or_a_part_of_the_film_s_name(tmp_path):
    for scan in ("sub-01_task-life_run-1", "sub-01_task-life_run-2", "sub-01_task-wolf"):
        write_fmriprep(tmp_path, scan)
    repeated = scans_of(tmp_path, repeat="{run}")
    assert [(one.movie, one.repeat) for one in repeated.scans] == [
        ("life", "run-1"),
        ("life", "run-2"),
        ("wolf", ""),
    ]
    assert [one.name for one in repeated.scans] == ["life_run-1", "life_run-2", "wolf"]
    named = scans_of(tmp_path, movie="{task}_run-{run}")
    assert [one.movie for one in named.scans] == ["life_run-1", "life_run-2"]
    assert [(path.rsplit("/")[-1], reason) for path, reason in reasons(named).items()] == [
        (
            "sub-01_task-wolf_space-fsLR_den-91k_bold.dtseries.nii",
            "its name has no run, which movie {task}_run-{run} is made of",
        )
    ]


def test_events_are_found_in_the_raw_tree_by_entities_and_inherited(tmp_path):
    raw, derivative = tmp_path / "ds", tmp_path / "ds/derivatives/fmriprep"
    write_raw(raw, "sub-01_task-film_run-1", "onset\tduration\n7.3\t60\n")
    write_raw(raw, "sub-02_task-film_run-1")
    (raw / "task-film_events.tsv").write_text("onset\tduration\n0\t60\n")
    (raw / "task-other_events.tsv").write_text("onset\tduration\n0\t60\n")
    for subject in ("01", "02"):
        write_fmriprep(derivative, f"sub-{subject}_task-film_run-1")
    for source in (derivative, raw):
        events = [one.scan.events.relative_to(raw) for one in scans_of(source).scans]
        assert list(map(str, events)) == [
            "sub-01/func/sub-01_task-film_run-1_events.tsv",
            "task-film_events.tsv",
        ]
    own = folder_of(derivative, "sub-01_task-film") / "sub-01_task-film_run-1_events.tsv"
    own.write_text("onset\tduration\n1\t60\n")
    assert scans_of(derivative).scans[0].scan.events == own


def test_raw_data_below_sourcedata_are_found_too(tmp_path):
    write_fmriprep(tmp_path, "sub-01_task-film")
    write_raw(tmp_path / "sourcedata/friends", "sub-01_task-film", "onset\tduration\n7.3\t60\n")
    (one,) = scans_of(tmp_path).scans
    assert str(one.scan.events.relative_to(tmp_path)).startswith("sourcedata/friends/sub-01/func")


def test_confounds_are_those_of_the_scan(tmp_path):
    for scan in ("sub-01_task-film_run-1", "sub-01_task-film_run-2", "sub-01_task-film_run-2_echo-2"):
        write_fmriprep(tmp_path, scan)
    for table in tmp_path.rglob("*echo-2_desc-confounds*"):
        table.unlink()
    found = scans_of(tmp_path, CIFTI | {"echo": None}).scans
    assert [one.scan.confounds.name[:22] for one in found] == [
        "sub-01_task-film_run-1",
        "sub-01_task-film_run-2",
    ]
    (echo,) = scans_of(tmp_path, CIFTI | {"echo": "2"}).scans
    assert echo.scan.confounds == found[1].scan.confounds


def ambiguity(found):
    assert not found.scans
    messages = {str(error) for _, error in found.unusable}
    assert len(messages) == 1
    return messages.pop()


def test_ambiguous_products_are_one_message_that_names_the_files_and_what_to_add(tmp_path):
    write_fmriprep(tmp_path, "sub-01_task-film")
    folder = folder_of(tmp_path, "sub-01_task-film")
    write_cifti(folder / "sub-01_task-film_space-fsLR_den-91k_desc-denoised_bold.dtseries.nii")
    message = ambiguity(scans_of(tmp_path))
    assert "sub-01_task-film_space-fsLR_den-91k_bold.dtseries.nii" in message
    assert "sub-01_task-film_space-fsLR_den-91k_desc-denoised_bold.dtseries.nii" in message
    assert "add desc: null or desc: denoised" in message
    for desc in (None, "denoised"):
        (one,) = scans_of(tmp_path, CIFTI | {"desc": desc}).scans
        assert ("denoised" in one.scan.relative[0]) == (desc is not None)
    write_fmriprep(tmp_path, "sub-01_task-film", surfaces=("fsaverage5", "fsaverage6"))
    message = ambiguity(scans_of(tmp_path, {"space": ["fsaverage5", "fsaverage6"]}))
    assert "4 files of one scan" in message
    assert "add space: fsaverage5 or space: fsaverage6" in message


@pytest.mark.parametrize(
    ("scans", "advice"),
    [
        (("ses-1_task-film", "ses-2_task-film"), 'repeat: "{ses}"'),
        (("task-film_dir-AP", "task-film_dir-PA"), "add dir: AP or dir: PA"),
        (("task-film", "task-film_echo-1"), "add echo: null or echo: 1"),
        (("task-film_run-1", "task-film_run-01"), "nothing in their names tells them apart"),
    ],
)
def test_scans_that_nothing_puts_in_order_are_one_message(tmp_path, scans, advice):
    for scan in scans:
        write_fmriprep(tmp_path, f"sub-01_{scan}")
    write_fmriprep(tmp_path, "sub-02_task-film")
    found = scans_of(tmp_path)
    assert [one.subject for one in found.scans] == ["02"]
    found.scans.clear()
    message = ambiguity(found)
    assert "2 scans of subject 01 are of film" in message
    assert advice in message


def test_a_lone_hemisphere_is_unusable(tmp_path):
    write_fmriprep(tmp_path, "sub-01_task-film", surfaces=("fsaverage6",))
    (tmp_path / "sub-01/func/sub-01_task-film_hemi-R_space-fsaverage6_bold.func.gii").unlink()
    assert "hemi-R) is not beside it" in ambiguity(scans_of(tmp_path, {"space": "fsaverage6"}))


def test_links_of_datalad_that_were_not_fetched_are_unusable_and_their_subject_is_seen(tmp_path):
    write_fmriprep(tmp_path, "sub-01_task-film", surfaces=("fsaverage6",))
    write_fmriprep(tmp_path, "sub-02_task-film", surfaces=("fsaverage6",))
    right = tmp_path / "sub-01/func/sub-01_task-film_hemi-R_space-fsaverage6_bold.func.gii"
    right.unlink()
    right.symlink_to("../../.git/annex/objects/x1/2k/MD5E-s5--a/MD5E-s5--a")
    (tmp_path / "sub-03").mkdir()
    (tmp_path / ".datalad").mkdir()
    found = scans_of(tmp_path, {"space": "fsaverage6"})
    assert found.subjects == ["01", "02", "03"]
    assert [one.subject for one in found.scans] == ["02"]
    ((one, error),) = found.unusable
    assert one.subject == "01"
    assert "datalad get" in str(error)
    assert "`datalad get -n`" in reasons(found)["sub-03"]


def test_links_in_circles_and_to_nowhere_are_said(tmp_path):
    write_fmriprep(tmp_path, "sub-01_task-film")
    (tmp_path / "sub-01/ses-1").symlink_to(".")
    (tmp_path / "sub-02").symlink_to("sub-02")
    (tmp_path / "sub-03").symlink_to("/mnt/elsewhere")
    (tmp_path / "sub-04").symlink_to("sub-01")
    (tmp_path / "sub-05").mkdir()
    (tmp_path / "sub-05/func").symlink_to("../sub-01/func")
    found = scans_of(tmp_path)
    assert [one.scan.relative[0].split("/")[0] for one in found.scans] == ["sub-01"]
    told = reasons(found)
    assert "circle" in told["sub-02"] or "levels of symbolic links" in told["sub-02"]
    assert "link to nowhere" in told["sub-03"]
    for place in ("sub-01/ses-1/func", "sub-04/func", "sub-05/func"):
        (reason,) = [said for path, said in told.items() if path.startswith(place)]
        assert "another subject or session than its folder" in reason


def test_what_is_not_taken_is_told_with_the_reason(tmp_path):
    write_fmriprep(tmp_path, "sub-01_task-film")
    write_fmriprep(tmp_path, "sub-02_task-film", surfaces=("fsaverage5",))
    write_fmriprep(tmp_path, "sub-03_task-rest")
    write_cifti(tmp_path / "sub-01/func/01_film.dtseries.nii")
    (tmp_path / "sub-01_old").mkdir()
    (tmp_path / "logs").mkdir()
    os.mkdir(os.fsencode(tmp_path) + b"/sub-1\xff")
    found = scans_of(tmp_path, CIFTI | {"task": "film"})
    assert [one.subject for one in found.scans] == ["01"]
    told = reasons(found)
    assert "not that of a subject" in told["sub-01_old"]
    assert told["sub-01/func/01_film.dtseries.nii"] == "is not named by BIDS"
    assert told["sub-03"] == "holds no file with space-fsLR den-91k task-film bold"
    (other,) = [reason for path, reason in told.items() if path.startswith("sub-02/func")]
    assert "space-fsaverage5_bold.func.gii" in other
    assert "has no file with space-fsLR den-91k task-film bold beside it" in other
    assert len(told) == 5


def test_several_derivatives_are_one_message_and_their_own_folder_is_taken(tmp_path):
    for pipeline in ("fmriprep", "xcp_d"):
        write_fmriprep(tmp_path / "derivatives" / pipeline, "sub-01_task-film")
    with pytest.raises(UserError, match="derivatives/fmriprep, derivatives/xcp_d have files with space-fsLR"):
        scans_of(tmp_path)
    assert len(scans_of(tmp_path / "derivatives/xcp_d").scans) == 1


def test_a_raw_tree_is_refused_with_the_command_of_fmriprep(tmp_path):
    write_raw(tmp_path, "sub-01_ses-1_task-film")
    with pytest.raises(
        UserError, match=r"(?s)is a raw BIDS tree.*fmriprep .* participant --cifti-output 91k"
    ):
        scans_of(tmp_path)
    write_raw(tmp_path / "nosessions", "sub-01_task-film")
    with pytest.raises(UserError, match="--output-spaces fsaverage6"):
        scans_of(tmp_path / "nosessions", {"space": "fsaverage6"})


def test_what_there_is_instead_is_named(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        scans_of(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is it a BIDS tree"):
        scans_of(tmp_path)
    write_volume(tmp_path / "sub-01/func/sub-01_task-film_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz")
    for bold in (CIFTI, {"space": "MNI152NLin6Asym"}):
        with pytest.raises(UserError, match=r"desc-preproc_space-MNI152NLin6Asym_bold.nii.gz \(1\).*91k"):
            scans_of(tmp_path, bold)
    write_gifti(tmp_path / "sub-01/func/sub-01_task-film_hemi-L_space-fsnative_bold.func.gii")
    with pytest.raises(UserError, match=r"space-fsnative_bold.func.gii \(1\)"):
        scans_of(tmp_path)


def test_subjects_that_are_asked_for_alone_are_looked_at(tmp_path, monkeypatch):
    for subject in ("01", "02", "03"):
        write_fmriprep(tmp_path, f"sub-{subject}_task-film")
    assert [one.subject for one in scans_of(tmp_path, subjects=["sub-02", "03"]).scans] == ["02", "03"]
    with pytest.raises(UserError, match="has no run of subject 04"):
        scans_of(tmp_path, subjects=["02", "04"])
    monkeypatch.setattr(bids_tree, "MOST_ENTRIES", 12)
    assert len(scans_of(tmp_path, subjects=["02"]).scans) == 1
    with pytest.raises(UserError, match="holds more than 12 files where runs may lie"):
        scans_of(tmp_path)


def test_other_folders_are_not_listed(tmp_path, monkeypatch):
    write_fmriprep(tmp_path, "sub-01_ses-1_task-film")
    for place in (
        "sub-01/figures",
        "sub-01/ses-1/anat/deep",
        "sourcedata/freesurfer/sub-01/surf",
        "work/a/b",
    ):
        (tmp_path / place).mkdir(parents=True)
    listed = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: listed.append(os.fspath(folder)) or real(folder))
    assert len(scans_of(tmp_path).scans) == 1
    assert not [one for one in listed if one.endswith(("figures", "anat", "deep", "surf", "work"))]


def test_the_uncompressed_file_goes_first_and_tools_may_leave_func_and_the_suffix_out(tmp_path):
    write_fmriprep(tmp_path, "sub-01_task-film")
    plain = tmp_path / "sub-01/func/sub-01_task-film_space-fsLR_den-91k_bold.dtseries.nii"
    plain.with_name(plain.name + ".gz").write_bytes(b"compressed")
    (one,) = scans_of(tmp_path).scans
    assert one.scan.files == (plain,)
    for hemi in "LR":
        write_gifti(
            tmp_path / f"afni/sub-01/sub-01_task-film_space-fsaverage6_hemi-{hemi}_desc-clean.func.gii"
        )
    (pair,) = scans_of(tmp_path / "afni", {"space": "fsaverage6", "desc": "clean", "suffix": None}).scans
    assert len(pair.scan.files) == 2
