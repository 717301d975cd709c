"""Stores of parcels made of stores of vertices: values as other software has them, and what they keep."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from atlas_files import CIFTI, write_dlabel, write_label, write_lone_annot
from gifti_files import save_surface
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, SeriesAxis
from store_files import call, contents

import simdata
from simdata.common.errors import UserError
from simdata.store import BoldReader
from simdata.surface.atlas import mesh_of, on_stored_mesh, read_atlas
from simdata.surface.fsaverage import fsaverage_sphere
from simdata.surface.meshes import fs_lr_sphere, icosphere
from simdata.surface.registration import shipped

VERTICES = 40962
FACES = icosphere(6)[1].reshape(320, -1)  # of ico2, with the corners of those of ico6 that lie in each


def faces_as_keys():
    """Keys 1 to 320 on ico6: the face of ico2 that a vertex lies in, or the first of several."""
    keys = np.zeros(VERTICES, int)
    for face, corners in reversed(list(enumerate(FACES))):
        keys[corners] = face + 1
    return keys


KEYS = {"L": faces_as_keys(), "R": faces_as_keys() + 320}
NAMES = {key: f"p{key - 1:03}" for key in range(1, 641)}


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return write_dlabel(tmp_path_factory.mktemp("atlas") / "faces.dlabel.nii", KEYS, NAMES)


@pytest.fixture(scope="module")
def made(built, atlas, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "p.zarr"
    result = call("parcellate", built / "s.zarr", atlas, "--out", out)
    return out, result


def scanner_units(store):
    with xr.open_zarr(store, chunks=None) as dataset:
        return (dataset.bold * dataset.bold_std + dataset.bold_mean).load()


def test_means_are_those_of_workbench(built, made, wb_command, tmp_path):
    """Of the run that is in the store, on the store's own mesh."""
    with xr.open_zarr(built / "s.zarr", chunks=None) as dataset:
        cortex = dataset.cortex.values
        run = (dataset.bold * dataset.bold_std + dataset.bold_mean).isel(subject=0, movie=0).load()
    data = np.concatenate([run.values[:, side][:, cortex[side]] for side in range(2)], axis=1)
    models = [
        BrainModelAxis.from_surface(np.flatnonzero(cortex[side]), VERTICES, name=CIFTI[name])
        for side, name in enumerate("LR")
    ]
    series = SeriesAxis(0, 1, len(data))
    image = Cifti2Image(data.astype("f4"), header=(series, models[0] + models[1]))
    image.nifti_header.set_intent("NIFTI_INTENT_CONNECTIVITY_DENSE_SERIES")
    nib.save(image, tmp_path / "run.dtseries.nii")
    # Workbench wants data in every vertex that the atlas has.
    inside = {
        side: np.where(cortex[n], KEYS[side], 0) for n, side in enumerate("LR")
    }  # Workbench wants no more
    labels = write_dlabel(tmp_path / "inside.dlabel.nii", inside, NAMES)
    command = ["-cifti-parcellate", tmp_path / "run.dtseries.nii", labels, "COLUMN"]
    subprocess.run([wb_command, *command, tmp_path / "run.ptseries.nii"], check=True)
    theirs = nib.load(tmp_path / "run.ptseries.nii")
    names = theirs.header.get_axis(1).name.tolist()
    ours = scanner_units(made[0]).isel(subject=0, movie=0)
    assert {NAMES[key] for keys in inside.values() for key in keys[keys > 0]} == set(
        ours.parcel.values.tolist()
    )
    expected = theirs.get_fdata()[:, [names.index(name) for name in ours.parcel.values.tolist()]]
    np.testing.assert_allclose(ours.values, expected, rtol=1e-6)


def test_the_store_is_one_like_any_other(built, made):
    out, result = made
    assert "parcels, of " in result.output
    store, before = simdata.open(out), simdata.open(built / "s.zarr")
    assert store.bold.dims == ("subject", "movie", "second", "parcel")
    assert store.bold_mean.dims == ("subject", "movie", "parcel")
    z = store.bold.isel(subject=0, movie=0).values
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=1e-5)
    assert np.isnan(store.bold.isel(movie=1).values).all()  # its run is absent, and has no files
    assert not (out / "bold/c/0/1").exists()
    assert store.cortex.values.all()
    assert set(store.parcel_hemisphere.values.tolist()) == {"L", "R"}
    assert store.simdata.metadata.recipe["parcels"]["files"] == ["faces.dlabel.nii"]
    assert store.simdata.catalog == before.simdata.catalog
    assert store.history.endswith("parcellate faces.dlabel.nii")
    xr.testing.assert_identical(store.frame, before.frame)
    xr.testing.assert_identical(store.sphere, before.sphere)
    xr.testing.assert_allclose(store.simdata.scanner_units().load(), scanner_units(out))
    labels = store.parcels.values
    np.testing.assert_array_equal(labels[~before.cortex.values], -1)
    for side, own in enumerate(KEYS.values()):
        inside = labels[side] >= 0
        found = store.parcel.values[labels[side, inside]].tolist()
        assert found == [NAMES[key] for key in own[inside].tolist()]
    said = call("info", out).output
    assert f"{store.sizes['parcel']} (" in said
    assert "of faces.dlabel.nii" in said


def test_our_reader_and_rechunk_take_it(made, tmp_path):
    out = made[0]
    with xr.open_zarr(out, chunks=None) as dataset:
        expected = dataset.bold.values
    reader = BoldReader(out)
    assert reader.shape == (1, 2, expected.shape[2], 1, expected.shape[3])
    index = np.array([(0, 0, 3, 0), (0, 0, 11, 0), (0, 1, 2, 0)])
    windows = np.stack([expected[0, 0, 3:6], expected[0, 0, 11:14], expected[0, 1, 2:5]])
    for layout in ("blocks,seconds=7", "compressed", "runs"):
        other = tmp_path / f"{layout}.zarr"
        call("rechunk", out, other, "--layout", layout)
        for one in (reader, BoldReader(out, verify=True), BoldReader(other)):
            np.testing.assert_array_equal(one.read(index, 3), windows)


def test_a_file_that_is_gone_is_found(made, tmp_path, own, atlas):
    simdata.parcellate(own / "s.zarr", atlas, out=tmp_path / "p.zarr")
    (tmp_path / "p.zarr/bold/c/0/0/0/0").unlink()
    with pytest.raises(OSError, match="is gone or cut short"):
        call("info", tmp_path / "p.zarr")


@pytest.mark.parametrize("encoding", ["int8", "float16"])
def test_encodings_are_as_exact_as_they_say(built, made, atlas, tmp_path, encoding):
    simdata.parcellate(built / "s.zarr", atlas, out=tmp_path / "p.zarr", encoding=encoding)
    exact, rounded = (xr.open_zarr(path, chunks=None).bold.values for path in (made[0], tmp_path / "p.zarr"))
    error = np.abs(exact - rounded)[~np.isnan(exact)]
    assert error.max() <= {"int8": 1 / 32, "float16": 4e-3}[encoding] + 1e-6
    np.testing.assert_array_equal(np.isnan(exact), np.isnan(rounded))


@pytest.mark.parametrize("mesh", ["32k", "59k", "fsaverage5", "fsaverage7"])
def test_labels_come_to_our_mesh_as_with_workbench(wb_command, tmp_path, mesh):
    rng = np.random.default_rng(0)
    for side in "LR":
        of_fsaverage = mesh.startswith("fsaverage")
        points, faces = fsaverage_sphere(mesh) if of_fsaverage else fs_lr_sphere(mesh, side)
        seeds = rng.standard_normal((60, 3))
        keys = (points @ (seeds / np.linalg.norm(seeds, axis=1, keepdims=True)).T).argmax(axis=1)  # 0: none
        file = write_label(
            tmp_path / f"{side}.label.gii", side, keys, {key: f"a{key}" for key in range(1, 60)}
        )
        stored, stored_faces = icosphere(6)
        if side == "R":  # vertex i of the store's R is the mirror of its vertex i of L
            stored, stored_faces = stored * [-1, 1, 1], stored_faces[:, [1, 0, 2]]
        if of_fsaverage:
            stored = shipped(side)
        from_sphere = save_surface(tmp_path / "from.surf.gii", points, faces, side)
        to_sphere = save_surface(tmp_path / "to.surf.gii", stored, stored_faces, side)
        command = [
            "-label-resample",
            file,
            from_sphere,
            to_sphere,
            "BARYCENTRIC",
            tmp_path / "theirs.label.gii",
        ]
        subprocess.run([wb_command, *command], check=True, capture_output=True)
        ours = on_stored_mesh(read_atlas([file])[side], mesh, side).keys
        theirs = nib.load(tmp_path / "theirs.label.gii").darrays[0].data
        assert (ours != theirs).mean() < 1e-4  # where two labels weigh the same


def test_the_mesh_is_told_by_the_kind_and_the_number_of_vertices():
    annot, label = Path("lh.a.annot"), Path("L.label.gii")
    assert [mesh_of(annot, number) for number in (10242, 40962, 163842)] == [
        f"fsaverage{n}" for n in (5, 6, 7)
    ]
    assert [mesh_of(label, number) for number in (32492, 59292, 40962, 10242)] == [
        "32k",
        "59k",
        "ico6",
        "fsaverage5",
    ]
    assert mesh_of(label, 163842) is None  # fs_LR 164k has as many
    assert mesh_of(annot, 32492) is None


def test_pairs_of_files_are_an_atlas_too(built, atlas, made, tmp_path):
    own = {key: NAMES[key] for key in range(1, 321)}
    labels = [write_label(tmp_path / f"{side}.label.gii", side, KEYS["L"], own) for side in "LR"]
    simdata.parcellate(built / "s.zarr", labels, out=tmp_path / "gii.zarr")
    store, other = simdata.open(tmp_path / "gii.zarr"), simdata.open(made[0])
    assert store.parcel.values[0] == f"L {other.parcel.values[0]}"  # both hemispheres' have the same names
    np.testing.assert_array_equal(store.bold.values, other.bold.values)
    annots = [write_lone_annot(tmp_path / f"{side}.a.annot", KEYS["L"], own) for side in ("lh", "rh")]
    simdata.parcellate(built / "s.zarr", annots, out=tmp_path / "annot.zarr", mesh="ico6")
    xr.testing.assert_equal(simdata.open(tmp_path / "annot.zarr").bold, store.bold)


def test_what_is_no_parcel_and_what_lies_outside_is_left_out(built, tmp_path):
    cortex = simdata.open(built / "s.zarr").cortex.values
    keys = np.where(cortex[0], 1, 2)
    keys[np.flatnonzero(cortex[0])[:100]] = 3
    names = {1: "A", 2: "wall", 3: "Background+FreeSurfer_Defined_Medial_Wall"}
    file = write_label(tmp_path / "L.label.gii", "L", keys, names)
    done = simdata.parcellate(built / "s.zarr", file, out=tmp_path / "p.zarr")
    assert (done.parcels, done.without, done.fewest) == (["A"], ["L wall"], cortex[0].sum() - 100)
    assert simdata.open(tmp_path / "p.zarr").parcel_hemisphere.values.tolist() == ["L"]


def test_mistakes_are_explained(built, atlas, made, tmp_path):
    store, out = built / "s.zarr", tmp_path / "p.zarr"
    odd = write_label(tmp_path / "odd.label.gii", "L", np.ones(500, int), {1: "A"})
    wrong = write_label(tmp_path / "wrong.label.gii", "L", np.ones(32492, int), {1: "A"})
    empty = write_label(tmp_path / "empty.label.gii", "L", np.zeros(VERTICES, int), {1: "A"})
    twice = np.zeros(VERTICES, int)
    twice[::2], twice[1::2] = 1, 2
    twice = write_label(tmp_path / "twice.label.gii", "L", twice, {1: "A", 2: "A"})
    annot = write_lone_annot(tmp_path / "left.annot", KEYS["L"], NAMES)
    cut = tmp_path / "lh.cut.annot"
    cut.write_bytes(annot.read_bytes()[:1000])
    (tmp_path / "notes.txt").write_text("none")
    for file, words in (
        (
            odd,
            r"L has 500 vertices, which do not tell its mesh; take .* on which: ico6 \(40,962\), 59k",
        ),
        (empty, "has no parcel with vertices in the store's cortex"),
        (twice, "two parcels of a hemisphere are called L A"),
        (annot, "its name must begin with lh. or rh."),
        (cut, "its 40,962 vertices are not all there"),
        (tmp_path / "notes.txt", "cannot be read as a file of parcels"),
        (tmp_path / "none.dlabel.nii", "cannot be read as a file of parcels"),
    ):
        with pytest.raises(UserError, match=words):
            simdata.parcellate(store, file, out=out)
    with pytest.raises(UserError, match="32,492 vertices, and `mesh` 59k has 59,292"):
        simdata.parcellate(store, wrong, out=out, mesh="59k")
    with pytest.raises(UserError, match="`mesh` is 'ico9': choose one of"):
        simdata.parcellate(store, atlas, out=out, mesh="ico9")
    with pytest.raises(UserError, match="has parcels already"):
        simdata.parcellate(made[0], atlas, out=out)
    with pytest.raises(UserError, match="exists already"):
        simdata.parcellate(store, atlas, out=made[0])
    assert not out.exists()


@pytest.mark.parametrize("seed", range(4))
def test_a_broken_annot_is_one_message(tmp_path, seed):
    rng = np.random.default_rng(seed)
    whole = write_lone_annot(tmp_path / "lh.a.annot", KEYS["L"], NAMES).read_bytes()
    for _ in range(20):
        bad = bytearray(whole[: rng.integers(1, len(whole))] if rng.random() < 0.5 else whole)
        for place in rng.integers(0, len(bad), 8):
            bad[place] = rng.integers(256)
        (tmp_path / "lh.b.annot").write_bytes(bad)
        with suppress(UserError):  # nothing else is raised; what changed colours or names alone is read
            read_atlas([tmp_path / "lh.b.annot"])


KILLED = """
import os, signal, simdata.parcellation as module
from simdata.cli import main

def die(path, *rest):
    os.kill(os.getpid(), signal.SIGKILL)

module._finish = die
main()
"""


def test_a_killed_call_leaves_nothing_and_is_continued(built, atlas, made, tmp_path):
    arguments = ["parcellate", str(built / "s.zarr"), str(atlas), "--out", str(tmp_path / "p.zarr")]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], stderr=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == [".p.zarr.parcellating"]
    shard = tmp_path / ".p.zarr.parcellating/store/bold/c/0/0/0/0"
    written = shard.stat().st_mtime_ns
    call(*arguments)
    assert os.listdir(tmp_path) == ["p.zarr"]
    assert (tmp_path / "p.zarr/bold/c/0/0/0/0").stat().st_mtime_ns == written
    ignored = ("zarr.json",)  # the history has the time
    assert contents(tmp_path / "p.zarr", ignored) == contents(made[0], ignored)


def test_a_run_of_two_scans_is_scaled_scan_by_scan(own, atlas, tmp_path):
    """As the store's vertices are: ``run`` says which second is of which scan."""
    store = xr.open_zarr(own / "s.zarr", chunks=None)
    scans = np.zeros((1, 2, store.sizes["second"]), np.int16)
    volumes = int(store.volumes[0])
    scans[0, 0, :volumes] = np.where(np.arange(volumes) < 9, 1, 2)
    scans[0, 0, 5] = -1
    added = xr.Dataset({"run": (("subject", "movie", "second"), scans)})
    added.to_zarr(own / "s.zarr", mode="a", zarr_format=3, consolidated=True)
    simdata.parcellate(own / "s.zarr", atlas, out=tmp_path / "p.zarr")
    z = simdata.open(tmp_path / "p.zarr").bold.isel(subject=0, movie=0).values[:volumes]
    for rows in (slice(9), slice(9, None)):
        np.testing.assert_allclose(z[rows].mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(z[rows].std(axis=0), 1, atol=1e-5)
