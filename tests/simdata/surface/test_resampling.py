import subprocess

import nibabel as nib
import numpy as np
import pytest
from cifti_files import valid_vertices
from gifti_files import save_metric, save_surface
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from simdata.surface.barycentric import barycentric_weights
from simdata.surface.meshes import fs_lr_sphere, icosphere
from simdata.surface.resampling import cortex_weights


def ring_neighbours(faces, seeds, rings):
    """Vertices within a number of edges of ``seeds`` (a mask)."""
    for _ in range(rings):
        touched = seeds[faces].any(axis=1)
        seeds = seeds.copy()
        seeds[faces[touched].ravel()] = True
    return seeds


@pytest.mark.parametrize("density", ["59k", "32k"])
@pytest.mark.parametrize("hemisphere", ["L", "R"])
def test_rows_are_convex_combinations(density, hemisphere):
    weights = cortex_weights(density, hemisphere, valid_vertices(density, hemisphere))
    cortex = np.diff(weights.indptr) > 0
    assert weights.data.min() > 0
    assert np.diff(weights.indptr).max() <= 3
    np.testing.assert_allclose(weights.sum(axis=1)[cortex], 1, atol=1e-6)
    assert 0.8 < cortex.mean() < 0.95


@given(seed=st.integers(0, 2**32 - 1))
@example(seed=4301291)  # a point just over an edge
@settings(max_examples=10)
def test_linear_functions_are_reproduced_on_any_rotation(seed):
    mesh = icosphere(3)
    points = Rotation.random(rng=np.random.default_rng(seed)).apply(icosphere(4)[0].copy())
    weights = barycentric_weights(points, mesh)
    # A flat triangle lies below the sphere: the direction is kept, the radius shrinks by some 0.5 %.
    interpolated = weights @ mesh[0]
    radius = np.linalg.norm(interpolated, axis=1)
    assert radius.min() > 98.5
    assert ((interpolated * points).sum(axis=1) / radius / 100).min() > 0.99999


def test_a_mesh_resampled_to_itself_is_unchanged():
    vertices, faces = fs_lr_sphere("32k", "L")
    weights = barycentric_weights(vertices, (vertices, faces))
    np.testing.assert_allclose(weights.diagonal(), 1, atol=1e-9)
    assert weights.nnz == len(vertices)


@pytest.mark.workbench
@pytest.mark.parametrize("density", ["59k", "32k"])
@pytest.mark.parametrize("hemisphere", ["L", "R"])
def test_agrees_with_workbench(wb_command, tmp_path, density, hemisphere):
    """Away from the medial wall: within 1e-3 s.d. Near it, the mean of the corners that have data, like
    Workbench's; only a target that lies exactly on an edge may differ (Workbench's rounding then lends a
    corner a weight of 1e-7, which decides when the others have no data)."""
    valid = valid_vertices(density, hemisphere)
    vertices, faces = fs_lr_sphere(density, hemisphere)
    roi = np.zeros(len(vertices), np.float32)
    roi[valid] = 1
    signal = np.random.default_rng(0).standard_normal(len(vertices)).astype(np.float32) * roi
    mirror = np.array([1 if hemisphere == "L" else -1, 1, 1])
    target, target_faces = icosphere(6)
    turned = target_faces if hemisphere == "L" else target_faces[:, [1, 0, 2]]
    save_surface(tmp_path / "source.surf.gii", vertices, faces, hemisphere)
    save_surface(tmp_path / "target.surf.gii", target * mirror, turned, hemisphere)
    save_metric(tmp_path / "signal.shape.gii", signal, hemisphere)
    save_metric(tmp_path / "roi.shape.gii", roi, hemisphere)
    files = ["signal.shape.gii", "source.surf.gii", "target.surf.gii", "BARYCENTRIC", "out.shape.gii"]
    roi_files = ["-current-roi", "roi.shape.gii", "-valid-roi-out", "valid.shape.gii"]
    subprocess.run(
        [wb_command, "-metric-resample", *files, *roi_files], cwd=tmp_path, check=True, capture_output=True
    )
    theirs = nib.load(tmp_path / "out.shape.gii").agg_data()
    their_cortex = nib.load(tmp_path / "valid.shape.gii").agg_data() > 0

    weights = cortex_weights(density, hemisphere, valid)
    ours, our_cortex = weights @ signal[valid], np.diff(weights.indptr) > 0
    near = ring_neighbours(target_faces, ~our_cortex, rings=2)
    assert near.mean() < 0.2
    assert np.abs(ours - theirs)[~near].max() < 1e-3
    assert np.count_nonzero(np.abs(ours - theirs)[near & our_cortex] > 1e-3) <= 3
    assert np.count_nonzero(our_cortex != their_cortex) <= 3


@pytest.mark.templates
@pytest.mark.parametrize("hemisphere", ["L"])
def test_reproduces_the_published_cortex_mask(templates, seed_files, hemisphere):
    roi = nib.load(templates / f"{hemisphere}.atlasroi.32k_fs_LR.shape.gii").agg_data() > 0
    published = nib.load(seed_files / "L.atlasroi.ico6_fs_LR.shape.gii").agg_data() > 0
    cortex = np.diff(cortex_weights("32k", hemisphere, np.flatnonzero(roi)).indptr) > 0
    assert cortex.sum() == 37_557
    np.testing.assert_array_equal(cortex, published)
