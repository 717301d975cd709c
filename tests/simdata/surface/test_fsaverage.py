import nibabel as nib
import numpy as np
import pytest

from simdata.surface.fsaverage import ORDERS, fsaverage_sphere
from simdata.surface.meshes import MESH_VERTICES, RADIUS

FILES = {"fsaverage5": "10k", "fsaverage6": "41k"}


@pytest.mark.parametrize("name", ORDERS)
def test_it_is_a_closed_sphere_whose_first_vertices_are_fsaverage5s(name):
    vertices, faces = fsaverage_sphere(name)
    assert len(vertices) == MESH_VERTICES[name]
    assert len(faces) == 2 * len(vertices) - 4
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), RADIUS, rtol=1e-9)
    a, b, c = vertices[faces].transpose(1, 0, 2)
    assert ((np.cross(b - a, c - a) * (a + b + c)).sum(axis=1) > 0).all()
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    coarse = fsaverage_sphere("fsaverage5")[0]
    np.testing.assert_array_equal(vertices[: len(coarse)], coarse)


def test_vertices_and_faces_are_numbered_as_freesurfer_numbers_them():
    # From fsaverage6_std_sphere.L.41k_fsavg_L.surf.gii; the check below reads the whole of it.
    vertices, faces = fsaverage_sphere("fsaverage6")
    positions = {
        1: (27.64, -85.07, 44.72),
        6: (-27.64, -85.07, -44.72),
        11: (0.0, 0.0, -100.0),
        2564: (1.07, 3.29, 99.94),
        40_961: (2.8, 0.0, -99.96),
    }
    for vertex, position in positions.items():
        np.testing.assert_allclose(vertices[vertex], position, atol=1e-2)
    published = {
        0: [0, 10244, 10242],
        19: [7, 10291, 10289],
        20: [12, 10294, 10292],
        81919: [40719, 11, 39990],
    }
    assert {face: faces[face].tolist() for face in published} == published


@pytest.mark.templates
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("hemisphere", ["L", "R"])
def test_both_hemispheres_are_those_of_freesurfers_files(fsaverage_files, name, hemisphere):
    file = f"{name}_std_sphere.{hemisphere}.{FILES[name]}_fsavg_{hemisphere}.surf.gii"
    vertices, faces = nib.load(fsaverage_files / file).agg_data()
    ours, our_faces = fsaverage_sphere(name)
    np.testing.assert_allclose(ours, vertices, atol=6e-3)
    np.testing.assert_array_equal(our_faces, faces)
