import json

import pytest
import yaml
from bids_trees import write_fmriprep, write_raw, write_volume
from click.testing import CliRunner

from simdata.catalog_draft import draft_catalog
from simdata.cli.root import cli
from simdata.common.errors import UserError
from simdata.release.bids import find_scans
from simdata.release.bids_names import BidsSelection
from simdata.release.catalog import parse
from simdata.synthetic.likeness_release import write_like

ENDINGS = (".dtseries.nii", ".func.gii")


def drafted(folder):
    text = draft_catalog(folder)
    assert parse(text, "a draft").is_bids
    return text, yaml.safe_load(text)


def test_a_draft_says_what_there_is_and_takes_it(tmp_path):
    derivative = tmp_path / "friends/derivatives/fmriprep"
    for subject in ("01", "02", "03"):
        for task in ("s01e01a", "s01e01b", "rest"):
            write_fmriprep(derivative, f"sub-{subject}_ses-{subject}1_task-{task}")
        for run in (1, 2):
            write_fmriprep(derivative, f"sub-{subject}_ses-{subject}1_task-life_run-{run}")
    write_raw(tmp_path / "friends", "sub-01_ses-011_task-life_run-1", "onset\tduration\ttrial_type\n")
    description = {"Name": "Friends: all of it", "BIDSVersion": "1.9.0"}
    (tmp_path / "friends/dataset_description.json").write_text(json.dumps(description))
    text, catalog = drafted(tmp_path / "friends")
    assert catalog["name"] == "friends"
    assert catalog["title"] == "Friends: all of it"
    assert catalog["bold"] == {
        "space": "fsLR",
        "den": "91k",
        "suffix": "bold",
        "task": ["life", "s01e01a", "s01e01b"],
    }
    assert catalog["splits"]["subjects"] == {"val": ["02"], "test": ["03"]}
    for said in (
        "# Left out: rest.",
        "# task-life: 6 scans of 3 subjects; ses-011, 021, 031; run-1, 2",
        "# TR 1.49 s; 5 volumes, in 10 of the files.",
        'repeat: "{run}"',
        "run-1_events.tsv with the columns onset, duration, trial_type",
    ):
        assert said in text
    scans = find_scans(
        tmp_path / "friends", BidsSelection(catalog["bold"]), movie=catalog["movie"], endings=ENDINGS
    )
    assert len(scans.scans) == 12
    assert not scans.unusable


def test_a_product_is_chosen_so_that_no_other_one_is_taken_with_it(tmp_path):
    write_fmriprep(tmp_path, "sub-01_task-film")
    write_fmriprep(tmp_path, "sub-02_task-film")
    plain = tmp_path / "sub-01/func/sub-01_task-film_space-fsLR_den-91k_bold.dtseries.nii"
    plain.with_name(plain.name.replace("_bold", "_desc-denoised_bold")).write_bytes(plain.read_bytes())
    text, catalog = drafted(tmp_path)
    assert catalog["bold"] == {"space": "fsLR", "den": "91k", "suffix": "bold", "desc": None}
    assert "#   den-91k_desc-denoised_space-fsLR_bold.dtseries.nii, of 1 scans" in text


def test_a_tr_is_read_from_sidecars_where_a_file_was_not_fetched(tmp_path):
    folder = write_fmriprep(tmp_path, "sub-01_task-film")
    file = folder / "sub-01_task-film_space-fsLR_den-91k_bold.dtseries.nii"
    file.unlink()
    file.symlink_to("../../.git/annex/objects/a")
    assert "# TR 1.49 s, in 1 of the files." in draft_catalog(tmp_path)
    for sidecar in folder.glob("*_bold.json"):
        sidecar.write_text("[]")
    assert "# TR: no file that was looked at says it" in draft_catalog(tmp_path)


def test_a_draft_of_gifti_pairs(tmp_path):
    like = tmp_path / "like"
    write_like(like, "narratives", subjects=1)
    text, catalog = drafted(like / "bids")
    assert catalog["bold"] == {"space": "fsaverage6", "desc": "clean", "suffix": None}
    assert "# TR 1.5 s; 100 to 106 volumes, in 2 of the files." in text
    assert "sub-001_task-bronx_events.tsv with the columns onset, duration, trial_type, stim_file" in text
    pair = write_fmriprep(tmp_path / "other", "sub-01_task-film", surfaces=("fsaverage6",))
    (pair / "sub-01_task-film_hemi-R_space-fsaverage6_bold.func.gii").unlink()
    assert "# TR 1.49 s, in 1 of the files." in draft_catalog(tmp_path / "other")


def test_trees_without_surfaces_are_refused(tmp_path):
    write_raw(tmp_path / "raw", "sub-01_task-film")
    with pytest.raises(UserError, match=r"(?s)is a raw BIDS tree.*--cifti-output 91k"):
        draft_catalog(tmp_path / "raw")
    name = "sub-01_task-film_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz"
    write_volume(tmp_path / "volumes/sub-01/func" / name)
    with pytest.raises(UserError, match="has no CIFTI or GIFTI file"):
        draft_catalog(tmp_path / "volumes")
    for pipeline in ("a", "b"):
        write_fmriprep(tmp_path / "two/derivatives" / pipeline, "sub-01_task-film")
    with pytest.raises(UserError, match="give the folder of one of them"):
        draft_catalog(tmp_path / "two")


def test_the_command_prints_a_draft_or_writes_a_new_file(tmp_path):
    write_fmriprep(tmp_path / "tree", "sub-01_task-film")
    printed = CliRunner().invoke(cli, ["catalog", "init", "--bids", str(tmp_path / "tree")])
    out = tmp_path / "mine.yaml"
    written = CliRunner().invoke(
        cli, ["catalog", "init", "--bids", str(tmp_path / "tree"), "--out", str(out)]
    )
    assert (printed.exit_code, written.exit_code) == (0, 0)
    assert out.read_text() == printed.output
    again = CliRunner().invoke(cli, ["catalog", "init", "--bids", str(tmp_path / "tree"), "--out", str(out)])
    assert isinstance(again.exception, UserError)
    assert "give a new file" in str(again.exception)
