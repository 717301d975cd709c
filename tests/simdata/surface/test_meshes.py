import subprocess

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simdata.surface.meshes import DIVISIONS, RADIUS, fs_lr_sphere, icosphere, icosphere_vertices


def outward(vertices, faces):
    a, b, c = vertices[faces].transpose(1, 0, 2)
    return (np.cross(b - a, c - a) * (a + b + c)).sum(axis=1) > 0


@given(st.integers(0, 5))
def test_icosphere_is_a_closed_sphere_whose_first_vertices_are_the_coarser_one(order):
    vertices, faces = icosphere(order)
    assert len(vertices) == icosphere_vertices(order) == 10 * 4**order + 2
    assert len(faces) == 20 * 4**order
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), RADIUS, rtol=1e-9)
    assert outward(vertices, faces).all()
    finer, _ = icosphere(order + 1)
    np.testing.assert_array_equal(finer[: len(vertices)], vertices)
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts == 2).all()


def test_children_of_face_f_are_faces_4f_to_4f_plus_3():
    vertices, faces = icosphere(2)
    finer, children = icosphere(3)
    centres = vertices[faces].mean(axis=1)
    for child in range(4):
        of_parent = finer[children[child::4]].mean(axis=1)
        np.testing.assert_allclose(np.linalg.norm(of_parent - centres, axis=1), 0, atol=18)


def test_ico6_has_the_published_vertex_order():
    # From the published ico-6 file; the check below reads the whole of it where it is at hand.
    vertices, faces = icosphere(6)
    published = {
        0: (-85.06507873535156, 52.57311248779297, 0.0),
        12: (-30.90169906616211, 50.0, 80.90170288085938),
        2563: (-2.0668628215789795, 36.78679656982422, 92.96482849121094),
        40961: (53.28829574584961, -2.6620922088623047, -84.57701110839844),
    }
    assert vertices.shape == (40_962, 3)
    assert faces[:2].tolist() == [[10242, 10244, 10243], [2564, 10243, 10244]]
    for vertex, position in published.items():
        np.testing.assert_allclose(vertices[vertex], position, atol=1e-5)


@pytest.mark.templates
def test_ico6_equals_the_published_file(seed_files):
    vertices, faces = nib.load(seed_files / "ico-6-L.surf.gii").agg_data()
    ours, our_faces = icosphere(6)
    np.testing.assert_allclose(ours, vertices, atol=1e-5)
    np.testing.assert_array_equal(our_faces, faces)


@pytest.mark.parametrize("density", DIVISIONS)
@pytest.mark.parametrize("hemisphere", ["L", "R"])
def test_fs_lr_spheres_are_closed_and_mirror_each_other(density, hemisphere):
    vertices, faces = fs_lr_sphere(density, hemisphere)
    assert len(vertices) == {"59k": 59_292, "32k": 32_492}[density]
    assert outward(vertices, faces).all()
    np.testing.assert_array_equal(
        vertices * [-1, 1, 1], fs_lr_sphere(density, "LR".replace(hemisphere, ""))[0]
    )
    # Numbers from HCP's R.sphere.*_fs_LR.surf.gii, so that the fact is checked without the file.
    second = {"59k": (-85.5108, 2.829806, 51.767693), "32k": (-85.648766, 3.818555, 51.475296)}[density]
    right = vertices * ([1, 1, 1] if hemisphere == "R" else [-1, 1, 1])
    np.testing.assert_allclose(right[13], second, atol=2e-5)


@pytest.mark.templates
@pytest.mark.parametrize("density", DIVISIONS)
@pytest.mark.parametrize("hemisphere", ["L", "R"])
def test_fs_lr_spheres_equal_hcps(templates, density, hemisphere):
    vertices, faces = nib.load(templates / f"{hemisphere}.sphere.{density}_fs_LR.surf.gii").agg_data()
    ours, our_faces = fs_lr_sphere(density, hemisphere)
    np.testing.assert_allclose(ours, vertices, atol=2e-5)
    np.testing.assert_array_equal(np.sort(our_faces, axis=1), np.sort(faces, axis=1))


@pytest.mark.workbench
def test_fs_lr_right_equals_workbenchs_sphere(wb_command, tmp_path):
    file = tmp_path / "sphere.surf.gii"
    subprocess.run([wb_command, "-surface-create-sphere", "32492", file], check=True, capture_output=True)
    vertices, faces = nib.load(file).agg_data()
    ours, our_faces = fs_lr_sphere("32k", "R")
    np.testing.assert_allclose(ours, vertices, atol=2e-5)
    np.testing.assert_array_equal(our_faces, faces)
