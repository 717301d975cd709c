import nibabel
import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from simdata.surface.meshes import fs_lr_sphere, icosphere
from simtrain.surface.patches import patch_vertices
from simtrain.surface.vertices import mean_over_patches, resample, sphere


@pytest.mark.parametrize("order", [1, 3, 5])
def test_a_vertex_has_the_mean_of_the_patches_that_share_it(order):
    patches, rng = patch_vertices(order), np.random.default_rng(0)
    values = rng.standard_normal((2, *patches.shape, 3)).astype("f4")
    counted = rng.random(values.shape) < 0.7
    columns = np.arange(patches.size)
    incidence = csr_array((np.ones(patches.size), (patches.ravel(), columns)), shape=(40962, patches.size))
    mean, counts = mean_over_patches(
        torch.from_numpy(values).flatten(2),
        torch.from_numpy(counted).flatten(2),
        torch.from_numpy(patches),
        40962,
    )
    for sample in range(2):
        flat = counted[sample].reshape(-1, 3)
        expected = incidence @ flat.astype(float)
        np.testing.assert_array_equal(counts[sample], expected)
        sums = incidence @ (values[sample].reshape(-1, 3) * flat)
        np.testing.assert_allclose(mean[sample], sums / np.maximum(expected, 1), atol=1e-6)


@pytest.mark.parametrize("mesh", ["ico6", "32k", "59k"])
def test_spheres_are_mirror_images_with_normals_outward(mesh):
    spheres = [sphere(mesh, hemisphere) for hemisphere in "LR"]
    np.testing.assert_array_equal(spheres[0][0] * [-1, 1, 1], spheres[1][0])
    for vertices, faces in spheres:
        a, b, c = vertices[faces].transpose(1, 0, 2)
        assert ((np.cross(b - a, c - a) * a).sum(axis=1) > 0).all()


@pytest.mark.parametrize("mesh", ["32k", "59k"])
def test_a_smooth_map_is_the_same_on_another_mesh(mesh):
    def smooth(vertices):
        return np.sin(vertices[:, 0] / 30) + np.cos(vertices[:, 2] / 40) * vertices[:, 1] / 100

    found = resample(smooth(icosphere(6)[0])[None], mesh)
    np.testing.assert_allclose(found[0], smooth(fs_lr_sphere(mesh, "L")[0]), atol=2e-3)


def test_outside_the_cortex_stays_outside_and_its_edge_is_not_darkened():
    x = icosphere(6)[0][:, 0]
    found = resample(np.where(x < 60, 5.0, np.nan), "32k")
    target = fs_lr_sphere("32k", "L")[0][:, 0]
    assert np.isnan(found[target > 62]).all()
    np.testing.assert_allclose(found[target < 58], 5.0, rtol=1e-6)
    assert set(np.unique(found[~np.isnan(found)]).round(5)) == {5.0}


@pytest.mark.templates
def test_the_cortex_of_hcp_comes_back_from_the_stores_mesh(templates):
    """32k mask -> ico6 as the build does it -> 32k: all of it, and a few vertices of its edge."""
    from simdata.surface.resampling import cortex_weights

    mask = nibabel.load(templates / "L.atlasroi.32k_fs_LR.shape.gii").darrays[0].data > 0
    weights = cortex_weights("32k", "L", np.flatnonzero(mask))
    stored = np.where(np.diff(weights.indptr) > 0, 1.0, np.nan)
    back = ~np.isnan(resample(stored, "32k"))
    assert (back & mask).sum() / mask.sum() > 0.999
    assert (back & ~mask).sum() / mask.sum() < 0.01


def test_where_one_map_says_nothing_others_may():
    maps = np.ones((2, 40962))
    maps[1, icosphere(6)[0][:, 0] > 0] = np.nan
    found = resample(maps, "32k")
    assert not np.isnan(found[0]).any()
    assert 0.4 < np.isnan(found[1]).mean() < 0.6
    np.testing.assert_allclose(found[~np.isnan(found)], 1, rtol=1e-6)
