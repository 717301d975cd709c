import numpy as np
import pytest
from scipy.spatial import cKDTree

from simdata.surface.meshes import icosphere
from simtrain.surface.patches import patch_centres, patch_vertices

SHAPES = {1: (80, 561), 2: (320, 153), 3: (1280, 45), 4: (5120, 15), 5: (20480, 6)}


@pytest.mark.parametrize("order", SHAPES)
def test_shapes_and_order_in_a_patch(order):
    patches = patch_vertices(order)
    assert patches.shape == SHAPES[order]
    assert (np.diff(patches, axis=1) > 0).all()
    assert np.array_equal(np.unique(patches), np.arange(40962))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_patch_is_what_lies_in_its_face(order):
    vertices, _ = icosphere(6)
    corners = icosphere(order)[0][icosphere(order)[1]]
    for patch, corner in zip(patch_vertices(order)[::7], corners[::7], strict=True):
        # A point is in a spherical triangle if it is a non-negative combination of its corners.
        inside = (np.linalg.solve(corner.T, vertices.T) > -1e-9).all(axis=0)
        assert set(patch) == set(np.flatnonzero(inside))


def test_patch_f_is_face_f_of_the_coarse_sphere():
    vertices, _ = icosphere(6)
    coarse, faces = icosphere(3)
    corners = cKDTree(vertices).query(coarse[faces])[1]
    assert all(set(corner) <= set(patch) for corner, patch in zip(corners, patch_vertices(3), strict=True))


@pytest.mark.parametrize("order", [0, 1, 3])
def test_a_patchs_centre_is_that_of_its_vertices(order):
    vertices, patches = icosphere(6)[0] / 100, patch_vertices(order)
    centres = patch_centres(len(patches))
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1)
    means = vertices[patches].mean(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert np.degrees(np.arccos((centres * means).sum(axis=1).clip(-1, 1))).max() < 1


@pytest.mark.templates
@pytest.mark.parametrize("order", SHAPES)
def test_patches_equal_the_published_ones_as_sets(seed_files, order):
    file = seed_files / f"triangle_indices_ico_6_sub_ico_{order}.csv"
    published = np.loadtxt(file, delimiter=",", skiprows=1, dtype=int).T
    assert {frozenset(patch) for patch in published.tolist()} == {
        frozenset(p) for p in patch_vertices(order).tolist()
    }
