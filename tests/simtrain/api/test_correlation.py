"""simtrain.correlate and the command: maps of files and of arrays, each with each."""

import json

import nibabel
import numpy as np
import pytest
import xarray as xr
from command_line import call
from examples import must_run
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, ParcelsAxis, ScalarAxis
from scipy.stats import pearsonr, spearmanr

import simtrain
from simdata.common.errors import UserError
from simdata.surface.meshes import icosphere
from simtrain.surface.dscalar import write_dscalar
from simtrain.surface.gifti import write_maps, write_sphere
from simtrain.surface.vertices import sphere

FEW = {"rotations": 9}


@pytest.fixture(scope="module")
def maps():
    """Two smooth maps of both hemispheres on 32k, without a medial wall, the second alike to the first."""
    values = {}
    for side in "LR":
        x, y, z = sphere("32k", side)[0].T / 100
        first = np.sin(3 * y + 2 * z)
        values[side] = np.stack([first, first + np.cos(5 * y)])
        values[side][:, (x if side == "L" else -x) > 0.8] = np.nan
    return values


@pytest.fixture(scope="module")
def files(maps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    write_dscalar(folder / "both.dscalar.nii", ["one", "two"], maps)
    for side in "LR":
        write_maps(folder / f"{side}.two.func.gii", {"two": maps[side][1]}, side)
        write_sphere(folder / f"{side}.sphere.surf.gii", side, "32k")
    return folder


def _flat(maps, row):
    values = np.concatenate([maps["L"][row], maps["R"][row]])
    return values[~np.isnan(values)]


def test_the_command_prints_and_writes_what_python_gives(files, maps, tmp_path):
    gifti = [files / "L.two.func.gii", files / "R.two.func.gii"]
    pair = ",".join(map(str, gifti))
    told = tmp_path / "alike.json"
    shown = call("correlate", files / "both.dscalar.nii", pair, "--rotations", 9, "--seed", 3, "--out", told)
    found = simtrain.correlate(files / "both.dscalar.nii", gifti, rotations=9, seed=3)
    written = json.loads(told.read_text())
    assert written["metrics"] == found.metrics.to_dict(orient="records")
    assert written["hemispheres"] == ["L", "R"]
    assert found.metrics["map"].tolist() == ["one", "two"]
    expected = pearsonr(_flat(maps, 0), _flat(maps, 1)).statistic
    assert found.metrics.r[0] == pytest.approx(expected, abs=1e-6)
    assert found.metrics.r[1] == pytest.approx(1, abs=1e-6)
    assert found.metrics.p[1] == pytest.approx(0.1)
    assert f"{expected:.3f}" in shown
    assert f"{len(_flat(maps, 0))} vertices" in " ".join(shown.split())
    assert found.nulls.sizes == {"rotation": 9, "map": 2, "reference": 1}


def test_names_hemispheres_and_ranks_are_chosen(files, maps):
    path = files / "both.dscalar.nii"
    chosen = {"maps": ["two"], "references": ["one"], "statistic": "spearman", "hemispheres": "R"}
    found = simtrain.correlate(path, path, **chosen, **FEW)
    kept = ~np.isnan(maps["R"][0])
    expected = spearmanr(maps["R"][1][kept], maps["R"][0][kept]).statistic
    assert found.metrics.to_dict(orient="records")[0]["r"] == pytest.approx(expected, abs=1e-6)
    assert found.settings["vertices"] == kept.sum()


def test_arrays_and_spheres_of_ones_own_do_as_files_of_known_meshes(files, maps):
    coords = {"head": [0, 1], "hemisphere": ["L", "R"]}
    values = np.stack([maps["L"], maps["R"]], axis=1)
    array = xr.DataArray(values, coords, ("head", "hemisphere", "vertex"))
    path = files / "both.dscalar.nii"
    found = simtrain.correlate(array, path, **FEW)
    assert found.metrics["map"].tolist() == ["head 0", "head 0", "head 1", "head 1"]
    own = [files / "L.sphere.surf.gii", files / "R.sphere.surf.gii"]
    again = simtrain.correlate(path, path, spheres=own, **FEW)
    np.testing.assert_allclose(again.metrics.r, found.metrics.r, atol=1e-6)
    np.testing.assert_allclose(again.nulls, found.nulls, atol=1e-2)
    single = simtrain.correlate(array[0], path, references=["one"], **FEW)
    assert single.metrics["map"].tolist() == ["map"]


def test_mistakes_are_explained(files, tmp_path):
    path = files / "both.dscalar.nii"
    ico3 = {side: np.random.default_rng(0).standard_normal((1, 642)) for side in "LR"}
    write_dscalar(tmp_path / "ico3.dscalar.nii", ["noise"], ico3)
    flat = {side: np.ones((1, 32492)) for side in "LR"}
    write_dscalar(tmp_path / "flat.dscalar.nii", ["flat"], flat)
    parcels = ParcelsAxis(
        ["p"],
        [np.zeros((0, 3))],
        [{"CIFTI_STRUCTURE_CORTEX_LEFT": np.arange(3)}],
        nvertices={"CIFTI_STRUCTURE_CORTEX_LEFT": 32492},
    )
    nibabel.save(Cifti2Image(np.ones((1, 1), "f4"), (ScalarAxis(["a"]), parcels)), tmp_path / "a.pscalar.nii")
    left = BrainModelAxis.from_surface(np.arange(50), 32492, name="CIFTI_STRUCTURE_CORTEX_LEFT")
    few = Cifti2Image(np.arange(50.0)[None].astype("f4"), (ScalarAxis(["few"]), left))
    nibabel.save(few, tmp_path / "few.dscalar.nii")
    two = [files / "L.two.func.gii", files / "L.two.func.gii"]
    for one, other, options, message in (
        (path, tmp_path / "ico3.dscalar.nii", {}, "meshes of 642 and 32492 vertices"),
        (tmp_path / "ico3.dscalar.nii", tmp_path / "ico3.dscalar.nii", {}, "give its `spheres`"),
        (path, path, {"maps": ["three"]}, "has no map 'three'; it has: one, two"),
        (path, tmp_path / "flat.dscalar.nii", {}, "a map is the same at all vertices"),
        (path, tmp_path / "a.pscalar.nii", {}, "is no file of maps"),
        (path, files / "L.sphere.surf.gii", {}, "is no file of maps"),
        (path, tmp_path / "few.dscalar.nii", {}, "only 19 vertices"),
        (path, two, {}, "L is given twice"),
        (
            path,
            files / "L.two.func.gii",
            {"hemispheres": "R"},
            "`hemispheres` R: the maps have data in L, R and L",
        ),
        (path, tmp_path / "none.nii", {}, "cannot be read as maps"),
        (path, path, {"spheres": [files / "L.sphere.surf.gii"]}, "`spheres`: there is none of R"),
        (path, path, {"rotations": 0}, "rotations: 0 is less than 1"),
        (path, path, {"statistic": "kendall"}, "statistic: 'kendall' is not one of"),
        (xr.DataArray(np.ones((3, 2)), dims=("a", "b")), path, {}, "an array of dimensions"),
    ):
        with pytest.raises(UserError, match=message):
            simtrain.correlate(one, other, **{**FEW, **options})


def test_a_surface_that_is_no_sphere_is_refused(files, tmp_path):
    image = nibabel.load(files / "L.sphere.surf.gii")
    image.darrays[0].data[:, 0] *= 2
    nibabel.save(image, tmp_path / "L.surf.gii")
    spheres = [tmp_path / "L.surf.gii", files / "R.sphere.surf.gii"]
    with pytest.raises(UserError, match="that of L is no sphere about 0"):
        simtrain.correlate(files / "both.dscalar.nii", files / "both.dscalar.nii", spheres=spheres, **FEW)


def test_the_store_s_mesh_is_known(tmp_path):
    x = icosphere(6)[0][:, 0]
    write_dscalar(tmp_path / "x.dscalar.nii", ["x"], {"L": x[None], "R": -x[None]})
    found = simtrain.correlate(tmp_path / "x.dscalar.nii", tmp_path / "x.dscalar.nii", rotations=1)
    assert found.settings["vertices"] == 2 * 40962


def test_the_example_runs(trained, store):
    must_run(simtrain.correlate, run=trained, store=store)
