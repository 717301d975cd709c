"""Scans of two files: GIFTI and MGH against nibabel, and what is wrong with one."""

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from gifti_files import save_pair, save_series
from nibabel.freesurfer import MGHImage

from simdata.bold.gifti_series import open_gifti
from simdata.bold.mgh import open_mgh
from simdata.common.errors import UserError
from simdata.surface.meshes import MESH_VERTICES

VOLUMES = 37  # no multiple of what is read at once


def noise(vertices, volumes=VOLUMES, dtype="<f4"):
    rng = np.random.default_rng(vertices)
    return {h: (1000 + 50 * rng.standard_normal((vertices, volumes))).astype(dtype) for h in "LR"}


def save_mgh(path, values, tr=1.0):
    image = MGHImage(values.reshape(len(values), 1, 1, -1), np.eye(4))
    image.header["tr"] = tr * 1000
    nib.save(image, path)
    return path


@pytest.mark.parametrize("mesh", ["fsaverage5", "32k", "59k"])
@pytest.mark.parametrize("dtype", ["<f4", "<i2", "<f8"])
def test_gifti_is_as_nibabel_reads_it(tmp_path, mesh, dtype):
    values = noise(MESH_VERTICES[mesh], dtype=dtype)
    values["L"] = values["L"].copy()
    if dtype != "<i2":
        values["L"][5:9] = np.nan  # a medial wall
    files = save_pair(tmp_path, "sub-1_hemi-{}_bold.func.gii", values, tr=1.49)
    run = open_gifti(*files)
    assert (run.volumes, run.density, run.stored_kind) == (VOLUMES, mesh, np.dtype(dtype).kind)
    assert run.tr == pytest.approx(1.49)
    for (hemisphere, ours), file in zip(run.cortices(), files, strict=True):
        theirs = np.stack([array.data for array in nib.load(file).darrays], axis=1)
        np.testing.assert_array_equal(ours, theirs.astype(np.float32))
        assert ours.flags.c_contiguous
        np.testing.assert_array_equal(run.vertices[hemisphere], np.arange(len(theirs)))


@pytest.mark.parametrize("ending", [".mgh", ".mgz"])
@pytest.mark.parametrize("dtype", [">f4", ">i2", ">i4", "u1"])
def test_mgh_is_as_nibabel_reads_it(tmp_path, ending, dtype):
    values = noise(MESH_VERTICES["fsaverage5"], dtype=dtype)
    files = [save_mgh(tmp_path / f"{h.lower()}h.fsaverage5{ending}", values[h], 1.5) for h in "LR"]
    run = open_mgh(*files)
    assert (run.volumes, run.tr, run.density) == (VOLUMES, 1.5, "fsaverage5")
    assert run.stored_kind == np.dtype(dtype).kind
    for (_, ours), file in zip(run.cortices(), files, strict=True):
        np.testing.assert_array_equal(ours, nib.load(file).get_fdata().squeeze().astype(np.float32))


def test_a_time_step_is_in_ms_or_s_or_nowhere(tmp_path):
    values = noise(MESH_VERTICES["fsaverage5"], 2)
    for step, tr in ((1.5, 1.5), (2000, 2.0), (0, None), (None, None)):
        assert open_gifti(*save_pair(tmp_path, "{}.func.gii", values, tr=step)).tr == tr


@pytest.mark.parametrize(
    ("name", "mesh"),
    [
        ("sub-1_hemi-{}_space-fsaverage_bold.func.gii", "fsaverage7"),
        ("sub-1_hemi-{}_space-fsLR_den-164k_bold.func.gii", "164k"),
        ("movie.{}.164k_fs_LR.func.gii", "164k"),
        ("movie.{}.func.gii", None),
    ],
)
def test_164k_is_told_from_fsaverage7_by_its_name(tmp_path, name, mesh):
    run = open_gifti(*save_pair(tmp_path, name, noise(163_842, 1)))
    assert run.density == mesh


def wrong(folder, how):
    """Two files of which one is not right."""
    five = noise(MESH_VERTICES["fsaverage5"], 3)
    left, right = save_pair(folder, "a_hemi-{}_bold.func.gii", five)
    if how == "one":
        return (left,)
    if how == "swapped":
        return right, left
    if how == "short":
        save_series(right, five["R"][:, :2], "R")
    elif how == "mesh":
        save_series(right, noise(MESH_VERTICES["fsaverage6"], 3)["R"], "R")
    elif how == "native":
        return save_pair(folder, "{}.func.gii", noise(10_241, 2))
    elif how == "name":
        return save_pair(folder, "{}.fs_LR.func.gii", five)
    elif how == "tr":
        save_series(right, five["R"], "R", tr=2.0)
    elif how == "label":
        save_series(left, five["L"].astype("<i4"), "L", intent="NIFTI_INTENT_LABEL")
    elif how == "sparse":
        save_series(left, five["L"].astype("<i4"), "L", intent="NIFTI_INTENT_NODE_INDEX")
    elif how == "table":
        array = nib.gifti.GiftiDataArray(five["L"], "NIFTI_INTENT_TIME_SERIES", "NIFTI_TYPE_FLOAT32")
        nib.save(nib.gifti.GiftiImage(darrays=[array]), left)
    return left, right


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            "one",
            r"hemi-L_bold.*: is one hemisphere, and a scan needs both: write {hemisphere} in the catalog",
        ),
        ("swapped", "hemi-R_bold.*: is of the right hemisphere, and was found as the left one"),
        ("short", "hemi-L_bold.*: has 3 volumes, and a_hemi-R_bold.func.gii 2: they are not of one scan"),
        ("mesh", "has 10,242 vertices, and a_hemi-R_bold.func.gii 40,962: they are not of one scan"),
        ("native", r"L\.func\.gii: has 10,241 vertices; known are .*40,962 \(fsaverage6\).*--output-spaces"),
        ("name", r"L\.fs_LR\.func\.gii: has 10,242 vertices, and no mesh of fs_LR has so many"),
        ("tr", "has a TR of 1 s, and a_hemi-R_bold.func.gii 2 s"),
        ("label", "hemi-L_bold.*: is no time series: its array 1 is a NIFTI_INTENT_LABEL"),
        ("sparse", "hemi-L_bold.*: has values of some vertices alone .*-pad_to_node"),
        ("table", "hemi-L_bold.*: has an array of 10,242 x 3; write a data array for each volume"),
    ],
)
def test_what_is_wrong_with_a_pair_is_named(tmp_path, how, message):
    with pytest.raises(UserError, match=message):
        open_gifti(*wrong(tmp_path, how))


def test_a_gifti_whose_arrays_differ_is_refused_when_it_is_read(tmp_path):
    values = noise(MESH_VERTICES["fsaverage5"], 3)
    left, right = save_pair(tmp_path, "{}.func.gii", values, encoding="GIFTI_ENCODING_B64BIN")
    text = left.read_text()
    parts = text.split('Dim0="10242"')
    left.write_text('Dim0="10242"'.join(parts[:2]) + 'Dim0="10241"' + 'Dim0="10242"'.join(parts[2:]))
    with pytest.raises(UserError, match=r"L\.func\.gii: its GIFTI has (more text|10,242)"):
        list(open_gifti(left, right).cortices())


def some_bytes(rng, content):
    place = int(rng.integers(284))
    return content[:place] + rng.bytes(1) + content[place + 1 :]


def some_end(rng, content):
    return content[: int(rng.integers(len(content)))]


@pytest.mark.parametrize("ending", [".mgh", ".mgz"])
@pytest.mark.parametrize("spoil", [some_bytes, some_end])
def test_a_broken_mgh_is_read_as_nibabel_does_or_refused_by_name(tmp_path, ending, spoil):
    values = noise(MESH_VERTICES["fsaverage5"], 3)
    left, right = (save_mgh(tmp_path / f"{h.lower()}h{ending}", values[h]) for h in "LR")
    content, refused = left.read_bytes(), []
    for seed in range(60):
        left.write_bytes(spoil(np.random.default_rng(seed), content))
        try:
            ours = dict(open_mgh(left, right).cortices())["L"]
        except UserError as error:
            refused.append(str(error))
        else:
            np.testing.assert_array_equal(ours, nib.load(left).get_fdata().squeeze().astype(np.float32))
    assert refused
    assert all(str(left) in message for message in refused)


def test_a_volume_in_mgh_is_refused(tmp_path):
    image = MGHImage(np.zeros((20, 20, 20, 2), np.float32), np.eye(4))
    for h in "lr":
        nib.save(image, tmp_path / f"{h}h.mgz")
    with pytest.raises(UserError, match=r"lh\.mgz: is a volume of 20 x 20 x 20; one of a surface"):
        open_mgh(tmp_path / "lh.mgz", tmp_path / "rh.mgz")


MEMORY = """
import sys
from pathlib import Path
from simdata.bold.gifti_series import open_gifti

def peak():  # kB; not getrusage, which begins with that of the process before
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

run = open_gifti(*map(Path, sys.argv[1:]))
before = peak()
for _, values in run.cortices():
    size = values.nbytes // 1024
    del values
print((peak() - before) / size)
"""


def test_a_hemisphere_is_in_memory_once(tmp_path):
    files = save_pair(tmp_path, "{}.func.gii", noise(MESH_VERTICES["fsaverage6"], 200))
    told = subprocess.run([sys.executable, "-c", MEMORY, *files], capture_output=True, text=True, check=True)
    assert 0.9 < float(told.stdout) < 1.4
