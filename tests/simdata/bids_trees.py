"""Real BIDS trees for tests: small CIFTI and GIFTI files, tables and sidecars under fMRIPrep's names."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from cifti_files import Small
from nibabel.gifti import GiftiDataArray, GiftiImage

# Version -> the parts of a name behind the scan's own, by what they are of.
FMRIPREP = {
    "20": {
        "cifti": "space-fsLR_den-91k_bold.dtseries.nii",
        "gifti": "space-{space}_hemi-{hemi}_bold.func.gii",
        "confounds": "desc-confounds_regressors.tsv",
        "sidecar": "space-fsLR_den-91k_bold.dtseries.json",
    },
    "23": {
        "cifti": "space-fsLR_den-91k_bold.dtseries.nii",
        "gifti": "hemi-{hemi}_space-{space}_bold.func.gii",
        "confounds": "desc-confounds_timeseries.tsv",
        "sidecar": "space-fsLR_den-91k_bold.json",
    },
    "25": {
        "cifti": "space-fsLR_den-91k_bold.dtseries.nii",
        "gifti": "hemi-{hemi}_space-{space}_bold.func.gii",
        "confounds": "desc-confounds_timeseries.tsv",
        "sidecar": "space-fsLR_den-91k_bold.json",
    },
}


def folder_of(root: Path, scan: str) -> Path:
    """Where the files of a scan such as ``sub-01_ses-1_task-film`` lie."""
    parts = [part for part in scan.split("_") if part.startswith(("sub-", "ses-"))]
    folder = root.joinpath(*parts, "func")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_cifti(path: Path, volumes: int = 5, tr: float = 1.49) -> Path:
    """A few grayordinates."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = Small(path.parent, volumes)
    (path.parent / "small.dtseries.nii").rename(path)
    image = nib.load(path)
    series = nib.cifti2.SeriesAxis(0, tr, volumes)
    data = np.random.default_rng(0).standard_normal((volumes, small.rows)).astype(np.float32)
    nib.save(nib.Cifti2Image(data, (series, image.header.get_axis(1))), path)
    return path


def write_gifti(path: Path, volumes: int = 5, vertices: int = 40) -> Path:
    values = np.random.default_rng(0).standard_normal((volumes, vertices)).astype(np.float32)
    arrays = [GiftiDataArray(row, "NIFTI_INTENT_TIME_SERIES") for row in values]
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(GiftiImage(darrays=arrays), path)
    return path


def write_volume(path: Path, volumes: int = 5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, volumes), np.float32), np.eye(4)), path)
    return path


def write_fmriprep(
    root: Path, scan: str, version: str = "23", surfaces: tuple[str, ...] = ("fsLR",), tr: float = 1.49
) -> Path:
    """All that a version of fMRIPrep writes of a scan which matters here."""
    names, folder = FMRIPREP[version], folder_of(root, scan)
    for space in surfaces:
        if space == "fsLR":
            write_cifti(folder / f"{scan}_{names['cifti']}", tr=tr)
            (folder / f"{scan}_{names['sidecar']}").write_text(json.dumps({"RepetitionTime": tr}))
        else:
            for hemi in "LR":
                write_gifti(folder / f"{scan}_{names['gifti'].format(space=space, hemi=hemi)}")
    write_volume(folder / f"{scan}_space-MNI152NLin2009cAsym_res-2_desc-preproc_bold.nii.gz")
    sidecar = {"RepetitionTime": tr, "StartTime": tr / 2, "SliceTimingCorrected": False}
    (folder / f"{scan}_space-MNI152NLin2009cAsym_res-2_desc-preproc_bold.json").write_text(
        json.dumps(sidecar)
    )
    (folder / f"{scan}_{names['confounds']}").write_text("csf\ttrans_x\n" + "0.5\t0.1\n" * 5)
    (folder / f"{scan}_desc-confounds_timeseries.json").write_text("{}")
    (folder / f"{scan}_space-MNI152NLin2009cAsym_res-2_boldref.nii.gz").write_bytes(b"reference")
    (root / "dataset_description.json").write_text(
        json.dumps({"Name": "fMRIPrep", "BIDSVersion": "1.9.0", "DatasetType": "derivative"})
    )
    return folder


def write_raw(root: Path, scan: str, events: str | None = None) -> Path:
    folder = folder_of(root, scan)
    write_volume(folder / f"{scan}_bold.nii.gz")
    (folder / f"{scan}_bold.json").write_text(json.dumps({"RepetitionTime": 1.49}))
    if events is not None:
        (folder / f"{scan}_events.tsv").write_text(events)
    return folder
