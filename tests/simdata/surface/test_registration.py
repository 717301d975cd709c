import subprocess

import nibabel as nib
import numpy as np
import pytest
from gifti_files import resampled_by_workbench, save_surface
from hypothesis import given, settings
from hypothesis import strategies as st

from simdata.surface.fsaverage import ORDERS, fsaverage_sphere
from simdata.surface.meshes import RADIUS, fs_lr_sphere, icosphere
from simdata.surface.registration import packed, registered, shipped
from simdata.surface.resampling import cortex_weights

MIRROR = np.array([-1, 1, 1])


def ico6_of(hemisphere):
    """Ico6 on the fs_LR sphere of a hemisphere, normals outward."""
    vertices, faces = icosphere(6)
    return (vertices, faces) if hemisphere == "L" else (vertices * MIRROR, faces[:, [1, 0, 2]])


@pytest.mark.parametrize("hemisphere", ["L", "R"])
def test_no_triangle_is_turned_over(hemisphere):
    faces = ico6_of(hemisphere)[1]
    a, b, c = shipped(hemisphere)[faces].transpose(1, 0, 2)
    assert ((np.cross(b - a, c - a) * (a + b + c)).sum(axis=1) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(shipped(hemisphere), axis=1), RADIUS, rtol=1e-9)


def test_the_hemispheres_are_not_mirror_images_on_fsaverage():
    # The rotations of fs_LR to fsaverage are 42.4 degrees on the left and 26.3 on the right.
    for hemisphere, degrees in (("L", 42.4), ("R", 26.3)):
        u, _, v = np.linalg.svd(ico6_of(hemisphere)[0].T @ shipped(hemisphere))
        assert np.degrees(np.arccos((np.trace(u @ v) - 1) / 2)) == pytest.approx(degrees, abs=0.5)
    apart = np.linalg.norm(shipped("L") * MIRROR - shipped("R"), axis=1)
    assert np.median(apart) > 10


@settings(max_examples=5)
@given(st.integers(0, 2**32 - 1))
def test_what_is_packed_is_within_its_steps(seed):
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]
    bent = icosphere(6)[0] @ turn + [0, 0, 3]
    bent *= RADIUS / np.linalg.norm(bent, axis=1, keepdims=True)
    content = packed(bent[None])
    assert content["coarse"].dtype == np.int16
    assert content["detail"].dtype == np.int8
    assert np.abs(content["coarse"][0] * RADIUS / 32_767 - bent[:10_242]).max() < 0.002


@pytest.mark.templates
@pytest.mark.parametrize("hemisphere", ["L", "R"])
def test_shipped_positions_are_those_of_hcps_deformed_spheres(fsaverage_files, hemisphere):
    for density, limit, median in (("59k", 0.005, 0.003), ("32k", 0.03, 0.005)):
        file = fsaverage_files / f"fs_LR-deformed_to-fsaverage.{hemisphere}.sphere.{density}_fs_LR.surf.gii"
        real = registered(density, nib.load(file).agg_data("pointset").astype(float))
        error = np.linalg.norm(shipped(hemisphere) - real, axis=1)
        assert np.percentile(error, 99) < limit
        assert np.median(error) < median


@pytest.mark.templates
@pytest.mark.workbench
@pytest.mark.parametrize("hemisphere", ["L", "R"])
def test_workbench_brings_the_stores_sphere_to_the_same_place(
    fsaverage_files, wb_command, tmp_path, hemisphere
):
    """The right hemisphere's ico6 mirrors the left one's on fs_LR's spheres, not on fsaverage's."""
    ico6 = save_surface(tmp_path / "ico6.surf.gii", *ico6_of(hemisphere), hemisphere)
    fs_lr = save_surface(tmp_path / "fs_LR.surf.gii", *fs_lr_sphere("59k", hemisphere), hemisphere)
    deformed = fsaverage_files / f"fs_LR-deformed_to-fsaverage.{hemisphere}.sphere.59k_fs_LR.surf.gii"
    out = tmp_path / "out.surf.gii"
    command = [wb_command, "-surface-sphere-project-unproject", ico6, fs_lr, deformed, out]
    subprocess.run(command, check=True, capture_output=True)
    theirs = nib.load(out).agg_data("pointset")
    np.testing.assert_allclose(shipped(hemisphere), theirs, atol=5e-3)


@pytest.mark.workbench
@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("hemisphere", ["L", "R"])
def test_fsaverage_is_resampled_as_workbench_does_with_the_same_spheres(
    wb_command, tmp_path, name, hemisphere
):
    vertices, faces = fsaverage_sphere(name)
    signal = np.random.default_rng(1).standard_normal(len(vertices))
    signal[vertices[:, 2] > 70] = np.nan  # a medial wall
    source = save_surface(tmp_path / "source.surf.gii", vertices, faces, hemisphere)
    target = save_surface(tmp_path / "ico6.surf.gii", shipped(hemisphere), ico6_of(hemisphere)[1], hemisphere)
    theirs = resampled_by_workbench(wb_command, tmp_path, signal, source, target, hemisphere)
    valid = np.flatnonzero(np.isfinite(signal))
    weights = cortex_weights(name, hemisphere, valid)
    ours, cortex = weights @ signal[valid], np.diff(weights.indptr) > 0
    far = cortex & (shipped(hemisphere)[:, 2] < 65)
    assert 0.8 < far.mean() < 0.9
    # White noise of s.d. 1 is the hardest: a point over an edge may be given to either of two triangles.
    error = np.abs(ours - theirs)
    assert error[far].max() < 5e-4
    assert np.mean(error[far] > 1e-4) < 2e-4
    assert np.count_nonzero(error[cortex & ~far] > 1e-4) <= 3
    assert np.count_nonzero((theirs != 0) != cortex) <= 3
