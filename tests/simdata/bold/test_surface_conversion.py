"""Runs on other meshes than CIFTI's, the whole way to the store's shards."""

import numpy as np
import pytest
from conversions import CAPACITY, VOLUMES, stored
from gifti_files import resampled_file, save_pair, save_surface

from simdata.bold.run_conversion import convert_run, memory_needed
from simdata.common.errors import UserError
from simdata.release.catalog import Movie
from simdata.release.sources import Part, Run, Scan
from simdata.store.encoding import ENCODINGS
from simdata.surface.barycentric import barycentric_weights
from simdata.surface.fsaverage import ORDERS, fsaverage_sphere
from simdata.surface.meshes import fs_lr_sphere, icosphere
from simdata.surface.registration import shipped

SIGN = {"L": np.array([1, 1, 1]), "R": np.array([-1, 1, 1])}
NAMES = {"32k": "sub-1_hemi-{}_space-fsLR_den-32k_bold.func.gii"} | {
    name: f"sub-1_hemi-{{}}_space-{name}_bold.func.gii" for name in ("fsaverage5", "fsaverage6")
}


def places(mesh, hemisphere):
    """Where the vertices of a mesh lie on the left fs_LR sphere, that of the right hemisphere mirrored."""
    if mesh not in ORDERS:
        return fs_lr_sphere(mesh, "L")[0]
    ico6, faces = icosphere(6)
    faces = faces if hemisphere == "L" else faces[:, [1, 0, 2]]
    back = barycentric_weights(fsaverage_sphere(mesh)[0], (shipped(hemisphere), faces)) @ ico6
    return back * 100 / np.linalg.norm(back, axis=1, keepdims=True)


def field(points, hemisphere):
    """(points, volumes) of a smooth field, another one for each hemisphere; no data where x is large."""
    rng = np.random.default_rng(ord(hemisphere))
    centres = icosphere(2)[0]
    blobs = np.exp((points @ centres.T / 1e4 - 1) / 0.06)
    values = 1000 + 30 * blobs @ rng.standard_normal((len(centres), VOLUMES))
    values[points[:, 0] > 80] = np.nan
    return values.astype("f4")


def pair_of(folder, mesh):
    values = {h: field(places(mesh, h), h) for h in "LR"}
    return save_pair(folder, NAMES[mesh], values)


def run_of_pair(files, volumes=VOLUMES):
    movie = Movie(name="A", volumes=volumes, phase_encoding="AP", session=1, video="A.mp4", segments=[])
    return Run("1", movie, (Part(Scan(files, tuple(file.name for file in files))),))


def convert_pair(files, staging, **options):
    options = {"checksum": False, "capacity": CAPACITY, "tr": 1.0, **options}
    return convert_run(run_of_pair(files), encoding=ENCODINGS["float32"], staging=staging, **options)


def test_one_field_on_different_meshes_gives_the_same_store(tmp_path):
    """To interpolation error: z-scores of a smooth field."""
    converted, values = {}, {}
    for mesh in NAMES:
        converted[mesh] = convert_pair(pair_of(tmp_path, mesh), tmp_path / mesh)
        values[mesh] = stored(converted[mesh], "float32")
        assert converted[mesh].provenance["density"] == mesh
    for mesh, most in (("fsaverage6", 0.02), ("fsaverage5", 0.06)):
        for hemisphere in (0, 1):
            one, other = (converted[m].cortex[hemisphere] for m in (mesh, "32k"))
            assert np.mean(one != other) < 0.02  # at the medial wall's border
            both = one & other & (icosphere(6)[0][:, 0] < 77)  # whose triangles are whole on all meshes
            error = values[mesh][hemisphere][:, both] - values["32k"][hemisphere][:, both]
            assert np.sqrt(np.mean(error**2)) < most / 10
            assert np.abs(error).max() < most
    left, right = values["32k"]
    assert np.abs(left - right)[:, both].mean() > 0.5  # they are not alike


def test_what_is_known_of_a_pair_is_in_its_record(tmp_path):
    files = pair_of(tmp_path, "fsaverage5")
    record = convert_pair(files, tmp_path / "s", checksum=True).provenance
    assert [file["path"] for file in record["parts"][0]["files"]] == [file.name for file in files]
    assert all(len(file["sha256"]) == 64 for file in record["parts"][0]["files"])
    assert record["nan_vertices"] == sum((places("fsaverage5", h)[:, 0] > 80).sum() for h in "LR")


def test_the_tr_of_a_file_without_one_is_the_catalogs(tmp_path):
    values = {h: field(places("fsaverage5", h), h) for h in "LR"}
    files = save_pair(tmp_path, NAMES["fsaverage5"], values, tr=None)
    assert convert_pair(files, tmp_path / "s").cortex.any()
    files = save_pair(tmp_path, NAMES["fsaverage5"], values, tr=1.5)
    with pytest.raises(UserError, match=r"hemi-L_.*has a TR of 1\.5 s, the catalog says 1 s"):
        convert_pair(files, tmp_path / "t")


def test_memory_is_reckoned_by_the_mesh(tmp_path):
    needed = {mesh: memory_needed(run_of_pair(pair_of(tmp_path, mesh)), ENCODINGS["int8"]) for mesh in NAMES}
    assert needed["fsaverage6"] - needed["fsaverage5"] == 2 * (40_962 - 10_242) * VOLUMES * 4
    for file in tmp_path.iterdir():
        file.write_bytes(b"")
    broken = run_of_pair(tuple(tmp_path / NAMES["32k"].format(h) for h in "LR"))
    assert memory_needed(broken, ENCODINGS["int8"]) > needed["fsaverage6"]


@pytest.mark.workbench
def test_a_pair_is_stored_as_workbench_resamples_its_files(wb_command, tmp_path):
    """The GIFTI files themselves, with the same spheres."""
    files = pair_of(tmp_path, "fsaverage6")
    converted = convert_pair(files, tmp_path / "s")
    for side, (hemisphere, file) in enumerate(zip("LR", files, strict=True)):
        faces = icosphere(6)[1] if hemisphere == "L" else icosphere(6)[1][:, [1, 0, 2]]
        source = save_surface(tmp_path / "a.surf.gii", *fsaverage_sphere("fsaverage6"), hemisphere)
        target = save_surface(tmp_path / "b.surf.gii", shipped(hemisphere), faces, hemisphere)
        theirs = resampled_file(wb_command, file, source, target, hemisphere)
        ours = stored(converted, "float32")[side] * converted.std[side] + converted.mean[side]
        cortex = converted.cortex[side]
        assert np.count_nonzero(cortex != (theirs != 0).any(axis=0)) <= 3
        error = np.abs(ours - theirs)[:, cortex].max(axis=0)
        assert np.count_nonzero(error > 3e-3) <= 3  # 1e-4 s.d. of the field, on an edge at the medial wall
        assert np.median(converted.std[side][cortex]) > 20
