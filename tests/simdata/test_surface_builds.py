"""Stores that are built of scans whose hemispheres are files of their own."""

import os

import numpy as np
import pytest
import xarray as xr
import yaml
from film_files import write_film
from gifti_files import STRUCTURE, save_pair, save_series, save_surface
from store_files import CATALOG, call

import simdata
from simdata.common.errors import UserError
from simdata.surface.meshes import MESH_VERTICES, fs_lr_sphere

VOLUMES = 20
NAME = "sub-{subject}/sub-{subject}_task-{movie}_hemi-{hemisphere}_space-fsaverage5_bold.func.gii"


def noise(mesh="fsaverage5", seed=0):
    rng = np.random.default_rng(seed)
    return {h: (900 + rng.standard_normal((MESH_VERTICES[mesh], VOLUMES))).astype("f4") for h in "LR"}


def write_catalog(folder, **changes):
    movie = {"name": "A", "volumes": VOLUMES, "video": "A.mp4", "segments": []}
    catalog = {**CATALOG, "bold": [NAME], "movies": [movie], **changes}
    (folder / "mini.yaml").write_text(yaml.safe_dump(catalog))


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    write_film(folder / "A.mp4", seconds=VOLUMES)
    return folder


@pytest.fixture
def build(films, tmp_path):
    write_catalog(tmp_path)
    places = {"source": tmp_path / "bold", "movies": films, "out": tmp_path / "s.zarr"}

    def build(**options):
        summary = simdata.build(tmp_path / "mini.yaml", **places, encoders=[], **options)
        return summary, [key for key in summary.converted if not key.startswith("film/")]

    return build


def save(folder, subject, **how):
    name = NAME.format(subject=subject, movie="A", hemisphere="{}")
    return save_pair(folder / "bold", name, noise(), **how)


def test_pairs_become_runs_that_are_current_until_either_file_changes(build, tmp_path):
    save(tmp_path, 1)
    _, right = save(tmp_path, 2)
    assert build()[1] == ["1/A", "2/A"]
    store = xr.open_zarr(tmp_path / "s.zarr", chunks=None)
    assert store.run_status.values.tolist() == [[1], [1]]
    assert store.cortex.all()
    assert build()[1] == []
    os.utime(right, (1, 1))
    assert build()[1] == ["2/A"]


def test_a_lone_hemisphere_is_told_and_can_be_left_out(build, tmp_path):
    save(tmp_path, 1)
    left, _ = save(tmp_path, 2)
    left.unlink()
    with pytest.raises(UserError, match=r"sub-2_.*hemi-R.*: is one hemisphere, and .*hemi-L.*get it"):
        build()
    summary, converted = build(on_error="skip")
    assert (converted, list(summary.skipped)) == (["1/A"], ["2/A"])
    assert not summary.not_taken


def test_freesurfers_names_and_sessions_that_are_not_known(build, tmp_path):
    bold = ["{subject}/ses-{session}/{hemisphere}.{movie}.fsaverage5.func.gii"]
    write_catalog(tmp_path, bold=bold)
    for hemisphere, side in (("L", "lh"), ("R", "rh")):
        file = tmp_path / "bold/1/ses-x2" / f"{side}.A.fsaverage5.func.gii"
        save_series(file, noise()[hemisphere], hemisphere)
    assert build()[1] == ["1/A"]
    listing = call("plays", tmp_path / "mini.yaml", "--source", tmp_path / "bold").output
    assert "x2" in listing


def test_a_pattern_may_have_the_hemisphere_in_a_files_name_alone(tmp_path):
    write_catalog(tmp_path, bold=["{subject}/{hemisphere}/{movie}.func.gii"])
    with pytest.raises(UserError, match="may stand in the file's name alone"):
        simdata.Catalog.load(tmp_path / "mini.yaml")


def test_spheres_are_part_of_the_recipe(build, tmp_path):
    save(tmp_path, 1)
    for hemisphere in STRUCTURE:
        name = f"fs_LR-deformed_to-fsaverage.{hemisphere}.sphere.32k_fs_LR.surf.gii"
        save_surface(tmp_path / name, *fs_lr_sphere("32k", hemisphere), hemisphere)
    assert build(spheres=tmp_path)[1] == ["1/A"]
    recipe = xr.open_zarr(tmp_path / "s.zarr", chunks=None).simdata.metadata.recipe
    assert len(recipe["spheres"]) == 2
    assert build(spheres=tmp_path)[1] == []
    with pytest.raises(UserError, match=r"was built with recipe\.spheres"):
        build()


def test_another_mesh_in_the_catalog_is_another_store(build, tmp_path):
    save(tmp_path, 1)
    build()
    write_catalog(tmp_path, mesh="164k")
    with pytest.raises(UserError, match="mesh is 164k, the store's is None; build to another `out`"):
        build()


def test_a_bids_tree_of_pairs_with_the_tr_in_sidecars(build, tmp_path):
    write_catalog(
        tmp_path, bold={"space": "fsaverage5", "suffix": "bold"}, movie="{task}", subject_pattern=".+"
    )
    pair = [
        tmp_path / f"bold/sub-01/func/sub-01_task-A_hemi-{h}_space-fsaverage5_bold.func.gii" for h in "LR"
    ]
    for file, (hemisphere, values) in zip(pair, noise().items(), strict=True):
        save_series(file, values, hemisphere, tr=None)
        sidecar = file.with_name(file.name.replace(".func.gii", ".json"))
        sidecar.write_text('{"RepetitionTime": 1.0, "StartTime": 0.5, "SliceTimingCorrected": true}')
    assert len(build()[1]) == 1
    assert xr.open_zarr(tmp_path / "s.zarr", chunks=None).cortex.all()
