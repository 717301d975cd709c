"""Spheres of a user's folder: which are taken, what they give, and what is wrong with one."""

import nibabel as nib
import numpy as np
import pytest
from gifti_files import resampled_by_workbench, save_surface
from scipy.spatial.transform import Rotation

from simdata.common.errors import UserError
from simdata.surface.fsaverage import fsaverage_sphere
from simdata.surface.meshes import fs_lr_sphere, icosphere
from simdata.surface.registration import registered, shipped
from simdata.surface.resampling import cortex_weights
from simdata.surface.sphere_files import SphereFiles

DEFORMED = "fs_LR-deformed_to-fsaverage.{}.sphere.{}_fs_LR.surf.gii"
STANDARD = "fsaverage.{}_LR.spherical_std.164k_fs_LR.surf.gii"


def save_deformed(folder, density, degrees, name=DEFORMED):
    folder.mkdir(exist_ok=True, parents=True)
    turn = Rotation.from_euler("z", degrees, degrees=True)
    for hemisphere in "LR":
        vertices, faces = fs_lr_sphere(density, hemisphere)
        turned = turn.apply(vertices.copy())
        save_surface(folder / name.format(hemisphere, density), turned, faces, hemisphere)


def save_164k(folder):
    """Another mesh of as many vertices in place of fs_LR 164k, which has no formula; R is no mirror image."""
    for hemisphere, degrees in (("L", 10), ("R", 20)):
        vertices, faces = fsaverage_sphere("fsaverage7")
        turned = Rotation.from_euler("x", degrees, degrees=True).apply(vertices.copy())
        save_surface(folder / STANDARD.format(hemisphere), turned, faces, hemisphere)


def test_a_deformed_sphere_takes_the_place_of_what_is_shipped(tmp_path):
    save_deformed(tmp_path, "32k", 30)
    spheres = SphereFiles.of(tmp_path)
    for hemisphere, side in (("L", [1, 1, 1]), ("R", [-1, 1, 1])):
        expected = Rotation.from_euler("z", 30, degrees=True).apply(icosphere(6)[0] * side)
        np.testing.assert_allclose(spheres.registered(hemisphere), expected, atol=1e-3)
    vertices, _ = fsaverage_sphere("fsaverage5")
    weights = cortex_weights("fsaverage5", "R", np.arange(len(vertices)), spheres)
    np.testing.assert_allclose(weights @ vertices, expected, atol=0.2)
    assert spheres.fs_lr_164k("L") is None
    assert list(spheres.identity()) == [DEFORMED.format(h, "32k") for h in "LR"]


def test_the_finer_one_is_taken_also_of_a_folder_below_and_of_templateflow(tmp_path):
    save_deformed(tmp_path / "resample_fsaverage", "59k", 40)
    save_deformed(tmp_path, "32k", 30)
    assert SphereFiles.of(tmp_path).deformed[0] == "59k"
    flow = tmp_path / "tpl-fsLR"
    save_deformed(flow, "32k", 20, "tpl-fsLR_space-fsaverage_hemi-{}_den-{}_sphere.surf.gii")
    assert [path.name[25:31] for path in SphereFiles.of(flow).deformed[1]] == ["hemi-L", "hemi-R"]


@pytest.mark.workbench
@pytest.mark.parametrize("hemisphere", ["L", "R"])
def test_164k_is_resampled_as_workbench_does_with_the_same_file(wb_command, tmp_path, hemisphere):
    save_164k(tmp_path)
    ico6, faces = icosphere(6)
    if hemisphere == "R":
        ico6, faces = ico6 * [-1, 1, 1], faces[:, [1, 0, 2]]
    target = save_surface(tmp_path / "ico6.surf.gii", ico6, faces, hemisphere)
    source = tmp_path / STANDARD.format(hemisphere)
    signal = np.random.default_rng(0).standard_normal(163_842)
    theirs = resampled_by_workbench(wb_command, tmp_path, signal, source, target, hemisphere)
    ours = cortex_weights("164k", hemisphere, np.arange(163_842), SphereFiles.of(tmp_path)) @ signal
    assert np.abs(ours - theirs).max() < 1e-3
    assert np.mean(np.abs(ours - theirs) > 1e-4) < 2e-4


@pytest.mark.templates
def test_hcps_real_folder_is_taken_as_it_is(fsaverage_files):
    spheres = SphereFiles.of(fsaverage_files)
    file = fsaverage_files / DEFORMED.format("R", "59k")
    expected = registered("59k", nib.load(file).agg_data("pointset").astype(float))
    np.testing.assert_allclose(spheres.registered("R"), expected, atol=1e-5)
    assert np.linalg.norm(spheres.registered("R") - shipped("R"), axis=1).max() < 5e-3


def test_164k_without_a_file_says_which(tmp_path):
    with pytest.raises(UserError, match="fs_LR 164k need `spheres`, a folder with fsaverage"):
        cortex_weights("164k", "L", np.arange(163_842))
    save_deformed(tmp_path, "32k", 30)
    with pytest.raises(UserError, match="fs_LR 164k need `spheres`"):
        cortex_weights("164k", "L", np.arange(163_842), SphereFiles.of(tmp_path))


def test_a_folder_without_both_hemispheres_says_what_it_lacks(tmp_path):
    with pytest.raises(UserError, match=r"`spheres` .*/none: is not a folder"):
        SphereFiles.of(tmp_path / "none")
    save_deformed(tmp_path, "32k", 30)
    (tmp_path / DEFORMED.format("R", "32k")).unlink()
    with pytest.raises(
        UserError, match=r"has neither fs_LR-deformed_to-fsaverage\.L\.sphere\.59k.*TemplateFlow"
    ):
        SphereFiles.of(tmp_path)


def spoiled(vertices, faces, how):
    if how == "flat":
        return vertices * [1, 1, 0.5], faces
    if how == "far":
        return vertices, np.where(faces == 7, 40_000, faces)
    if how == "none":
        return vertices * np.nan, faces
    return vertices[:-1], faces  # another count


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("flat", "is no sphere around 0: its vertices lie 50.* to 100 away"),
        ("far", "has triangles of vertices that are not there"),
        ("none", "is no sphere around 0"),
        ("count", "has 32,491 vertices; 32k has 32,492"),
    ],
)
def test_a_sphere_that_is_none_is_named(tmp_path, how, message):
    save_deformed(tmp_path, "32k", 30)
    path = tmp_path / DEFORMED.format("L", "32k")
    save_surface(path, *spoiled(*fs_lr_sphere("32k", "L"), how), "L")
    with pytest.raises(UserError, match=rf"L\.sphere\.32k_fs_LR\.surf\.gii: {message}"):
        SphereFiles.of(tmp_path).registered("L")
