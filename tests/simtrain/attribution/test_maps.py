"""Saliency of models on small stores, from the command to the files."""

import json
import re
import subprocess

import matplotlib.image
import nibabel
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis
from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiLabel, GiftiLabelTable, GiftiMetaData
from rich.console import Console

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simdata.surface.meshes import icosphere
from simtrain.attribution.maps import compute, correlations, randomised
from simtrain.attribution.methods import METHODS, Method, modality_of
from simtrain.cli.root import cli
from simtrain.config.composition import load
from simtrain.config.model_sections import ContextConfig
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.windows import by_hemisphere
from simtrain.retrieval.selection import Selection
from simtrain.surface.gifti import write_sphere
from simtrain.surface.map_files import read_surfaces
from simtrain.surface.parcels import read_parcels
from simtrain.surface.patches import patch_vertices
from simtrain.training.loop import fit
from simtrain.training.run_folder import FitRun
from simtrain.training.trained_model import load_learner

CPU = torch.device("cpu")
TINY = ["model.ico=1", "model.dim=16", "model.depth=2", "model.dim_head=8", "projector.dim=16"]
TINY += ["train.batch_size=32", "train.validation_samples=32"]


def _fit(store, out, *overrides):
    dataset = open_dataset(store)
    config = resolve(load("demo", [*TINY, *overrides]), dataset)
    run = FitRun.start(out, config, dataset)
    fit(dataset, run, CPU, Console(quiet=True))
    return run


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    return _fit(store, tmp_path_factory.mktemp("saliency") / "run", "train.steps=2")


@pytest.mark.parametrize("name", METHODS)
def test_a_map_is_the_mean_over_windows_of_what_single_ones_give(run, store, name):
    dataset = open_dataset(store)
    learner = load_learner(run, dataset, CPU)
    method = Method(name, modality_of(run, name, None), steps=3, by_vertex=True)
    windows = Selection(subjects=("s5",), seconds=range(3, 8), movie="M1").windows(run, dataset)
    assert len(windows) == 5
    together = compute(learner, run, dataset, windows, method, batch=4)
    apart = [compute(learner, run, dataset, windows[i : i + 1], method, batch=1).values for i in range(5)]
    np.testing.assert_allclose(together.values, np.mean(apart, axis=0), rtol=1e-3, atol=1e-6)
    assert (together.subjects, together.windows) == (["s5"], [5])
    assert np.array_equal(np.isnan(together.mean), ~dataset.cortex)
    assert (together.incomplete is None) == (name != "integrated-gradients")


def test_gradient_times_input_is_that_of_the_windows_bold(run, store):
    """Worked out for one vertex that one patch has alone, from BOLD as it is read."""
    dataset = open_dataset(store)
    learner = load_learner(run, dataset, CPU)
    windows = Selection(subjects=("s6",), seconds=range(5, 6), movie="M1").windows(run, dataset)
    found = compute(learner, run, dataset, windows, Method("gradient", "audio", by_vertex=True)).values[0]
    samples = by_hemisphere(windows)[1:]
    stored = torch.from_numpy(BoldReader(store).read(np.array([[5, 0, 11, 1]]), 3))
    x = learner.patches(samples, stored).requires_grad_()
    clip = learner.embed_clips(np.array([0]), np.array([5]))["audio"]
    (learner.sim.embed_fmri(x) * clip).sum().backward()
    patches = patch_vertices(1)
    counts = np.bincount(patches.ravel())
    patch, place = next(zip(*np.nonzero((counts[patches] == 1) & dataset.cortex[1][patches]), strict=True))
    expected = (x.grad * x).detach()[0, patch, 3 * place : 3 * place + 3]
    np.testing.assert_allclose(found[:, 1, patches[patch, place]], expected, rtol=1e-4, atol=1e-8)


def test_all_vertices_within_a_patch_are_alike_unless_asked_for(run, store):
    dataset = open_dataset(store)
    windows = Selection(most=1).windows(run, dataset)
    learner = load_learner(run, dataset, CPU)
    plain, by_patch = (
        compute(learner, run, dataset, windows, Method("gradient", "video", by_vertex=flag)).mean[0]
        for flag in (True, False)
    )
    patches = patch_vertices(1)
    inner = np.where(np.bincount(patches.ravel())[patches] == 1, by_patch[patches], np.nan)
    whole = dataset.cortex[0][patches].all(axis=1)
    assert np.nanstd(inner[whole], axis=1).max() < 1e-3 * np.nanstd(plain[patches[whole]], axis=1).min()


def test_random_weights_keep_what_is_no_weight(run, store):
    dataset = open_dataset(store)
    learner = load_learner(run, dataset, CPU)
    one, again, other = (randomised(learner, run, dataset, seed) for seed in (0, 0, 1))
    assert torch.equal(one.stimuli.features["video"].mean, learner.stimuli.features["video"].mean)
    weights = [model.sim.encoder.embed.weight for model in (one, again, other, learner)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])


def test_correlations_are_spearmans_over_the_cortex():
    one = np.array([[1.0, -2, np.nan], [3, -4, np.nan]])
    assert correlations(one, one**3, True) == pytest.approx({"spearman": 1, "spearman_of_magnitudes": 1})
    assert correlations(one, -one, True) == pytest.approx({"spearman": -1, "spearman_of_magnitudes": 1})
    assert set(correlations(abs(one), abs(one), False)) == {"spearman"}


def _invoke(*arguments):
    return CliRunner().invoke(cli, list(map(str, ["saliency", *arguments, "--device", "cpu"])))


def _atlas(path, keys):
    """One label.gii of the left hemisphere."""
    labels = GiftiLabelTable()
    for key, name in enumerate(("???", "front", "back")):
        label = GiftiLabel(key, 1, 1, 1, 1)
        label.label = name
        labels.labels.append(label)
    array = GiftiDataArray(keys.astype("i4"), "NIFTI_INTENT_LABEL", "NIFTI_TYPE_INT32")
    meta = GiftiMetaData({"AnatomicalStructurePrimary": "CortexLeft"})
    GiftiImage(darrays=[array], labeltable=labels, meta=meta).to_filename(path)


def test_the_command_writes_what_it_says(run, store, tmp_path):
    y = icosphere(6)[0][:, 1]
    _atlas(tmp_path / "L.label.gii", np.select([y > 50, y < -50], [1, 2]))
    arguments = [run.path, store, "--method", "sensitivity", "--windows", 3, "--by-frame", "--randomise"]
    result = _invoke(*arguments, "--figures", "--parcels", tmp_path / "L.label.gii")
    assert result.exit_code == 0, result.output
    assert "with random weights: spearman" in result.output
    out = run.path / "saliency"
    image = nibabel.load(out / "sensitivity.video.ico6.dscalar.nii")
    scalars, models = image.header.get_axis(0), image.header.get_axis(1)
    names = ["mean", "mean, random weights", "frame 0", "frame 1", "frame 2", "s5", "s6"]
    assert list(scalars.name) == names
    assert models.nvertices == dict.fromkeys(
        ("CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT"), 40962
    )
    data, cortex = image.get_fdata(), open_dataset(store).cortex
    assert data.shape[1] == cortex.sum()
    np.testing.assert_allclose(data[0], data[2:5].sum(axis=0), rtol=1e-4)
    np.testing.assert_allclose(data[0], data[5:].mean(axis=0), rtol=1e-4)
    for side, (_, rows, model) in enumerate(models.iter_structures()):
        np.testing.assert_array_equal(model.vertex, np.flatnonzero(cortex[side]))
        gifti = nibabel.load(out / f"{'LR'[side]}.sensitivity.video.ico6.func.gii")
        assert [array.meta["Name"] for array in gifti.darrays] == names
        np.testing.assert_allclose(gifti.darrays[5].data[cortex[side]], data[5, rows], rtol=1e-6)
        assert (gifti.darrays[5].data[~cortex[side]] == 0).all()
    written = json.loads((out / "sensitivity.video.ico6.json").read_text())
    assert written["windows"] == {"s5": 3, "s6": 3}
    peak = written["peaks"]["L"][0]
    assert peak["value"] == pytest.approx(data[0, : cortex[0].sum()].max(), rel=1e-5)
    assert len(written["peaks"]["R"]) == 10
    left = nibabel.load(out / "L.sensitivity.video.ico6.func.gii").darrays[0].data
    for row in written["parcels"]:
        own = left[cortex[0] & ((y > 50) if row["parcel"] == "front" else (y < -50))]
        assert (row["hemisphere"], row["vertices"]) == ("L", len(own))
        assert row["mean"] == pytest.approx(own.mean(), rel=1e-4)
    assert {row["parcel"] for row in written["parcels"]} == {"front", "back"}
    assert (out / "sensitivity.video.ico6.parcels.csv").read_text().count("\n") == 3
    picture = matplotlib.image.imread(out / "sensitivity.video.ico6.png")
    assert picture[..., :3].std() > 0.1


def test_maps_of_heads_are_written_by_name_and_by_parcel(run, store, tmp_path):
    dataset, y = open_dataset(store), icosphere(6)[0][:, 1]
    _atlas(tmp_path / "L.label.gii", np.select([y > 50, y < -50], [1, 2]))
    result = _invoke(
        *(run.path, store, "--method", "attention", "--block", 0, "--by-head", "--windows", 2),
        *("--parcels", tmp_path / "L.label.gii", "--out", tmp_path),
    )
    assert result.exit_code == 0, result.output
    image = nibabel.load(tmp_path / "attention.mean.block0.ico6.dscalar.nii")
    heads = run.config.model.heads
    names = ["mean", *(f"head {number}" for number in range(heads)), "s5", "s6"]
    assert heads > 1
    assert list(image.header.get_axis(0).name) == names
    data = image.get_fdata()
    np.testing.assert_allclose(data[1 : 1 + heads].mean(axis=0), data[0], rtol=1e-5)
    assert np.ptp(data[1 : 1 + heads], axis=0).max() > 0.01 * data[0].mean()
    head, *columns = (tmp_path / "attention.mean.block0.ico6.maps-by-parcel.tsv").read_text().splitlines()
    assert head.split("\t") == ["map", "L front", "L back"]
    assert [line.split("\t")[0] for line in columns] == names
    inside = dataset.cortex[0]
    front = data[:, : inside.sum()][:, (y > 50)[inside]].mean(axis=1)
    np.testing.assert_allclose([float(line.split("\t")[1]) for line in columns], front, rtol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--method", "rollout", "--by-head"], "--by-head with --method rollout: only"),
        (["--block", 0], "--block with --method integrated-gradients: only"),
        (["--method", "attention", "--by-head", "--heads", "max"], "--by-head with --heads max: heads"),
        (["--method", "attention", "--block", 2], "--block 2: the encoder's blocks are 0 to 1"),
    ],
)
def test_heads_that_are_not_there_are_refused(run, store, wrong, message):
    result = _invoke(run.path, store, *wrong)
    assert result.exit_code == 1
    assert message in str(result.exception)


@pytest.mark.workbench
@pytest.mark.parametrize(("mesh", "vertices"), [("ico6", 40962), ("32k", 32492)])
def test_workbench_reads_what_is_written(run, store, tmp_path, wb_command, mesh, vertices):
    result = _invoke(
        run.path, store, "--method", "rollout", "--windows", 1, "--mesh", mesh, "--out", tmp_path
    )
    assert result.exit_code == 0, result.output

    def information(name):
        return subprocess.run(
            [wb_command, "-file-information", tmp_path / name], capture_output=True, text=True, check=True
        ).stdout

    said = information(f"rollout.mean.{mesh}.dscalar.nii")
    assert "CIFTI - Dense Scalar" in said
    for structure in ("CortexLeft", "CortexRight"):
        assert f"out of {vertices} vertices" in next(
            line for line in said.splitlines() if line.strip().startswith(f"{structure}:")
        )
    assert re.search(rf"Number of Vertices: +{vertices}\b", information(f"L.rollout.mean.{mesh}.func.gii"))
    assert re.search(rf"Number of Vertices: +{vertices}\b", information(f"R.sphere.{mesh}.surf.gii"))
    separated = tmp_path / "R.func.gii"
    command = ["-cifti-separate", tmp_path / f"rollout.mean.{mesh}.dscalar.nii", "COLUMN", "-metric"]
    subprocess.run([wb_command, *command, "CORTEX_RIGHT", separated], check=True)
    ours = nibabel.load(tmp_path / f"R.rollout.mean.{mesh}.func.gii").darrays[0].data
    np.testing.assert_allclose(nibabel.load(separated).darrays[0].data, ours, rtol=1e-6)


def test_parcels_of_a_dlabel_are_its_vertices(tmp_path):
    vertices = np.arange(0, 40962, 3)
    models = BrainModelAxis.from_surface(vertices, 40962, name="CIFTI_STRUCTURE_CORTEX_RIGHT")
    labels = LabelAxis(["atlas"], {0: ("???", (0, 0, 0, 0)), 7: ("V1", (1, 0, 0, 1))})
    keys = np.where(vertices < 900, 7, 0)[None].astype("f4")
    nibabel.save(Cifti2Image(keys, header=(labels, models)), tmp_path / "a.dlabel.nii")
    found = read_parcels([tmp_path / "a.dlabel.nii"], 40962)
    assert list(found) == ["R"]
    assert found["R"].names[7] == "V1"
    np.testing.assert_array_equal(np.flatnonzero(found["R"].keys == 7), vertices[vertices < 900])
    with pytest.raises(UserError, match=r"R has 40962 vertices, and the maps have 32492: choose the `mesh`"):
        read_parcels([tmp_path / "a.dlabel.nii"], 32492)


def test_mistakes_are_explained(run, store, tmp_path):
    dataset = open_dataset(store)
    with pytest.raises(UserError, match="no subject nobody"):
        Selection(subjects=("nobody",)).windows(run, dataset)
    with pytest.raises(UserError, match="no movie M9"):
        Selection(movie="M9").windows(run, dataset)
    with pytest.raises(UserError, match="no windows of new-subjects"):
        Selection(seconds=range(60, 62)).windows(run, dataset)
    with pytest.raises(UserError, match="rollout looks at the fMRI encoder alone"):
        modality_of(run, "rollout", "video")
    with pytest.raises(UserError, match="`by_frame`: attention does not tell the frames"):
        Method("attention").must_suit(run.config, by_frame=True)
    around = run.config.model_copy(update={"context": ContextConfig(before=5)})
    with pytest.raises(UserError, match="saliency: the model also sees 5 s of BOLD around a window"):
        Method("sensitivity").must_suit(around, by_frame=False)
    write_sphere(tmp_path / "L.surf.gii", "L")
    write_sphere(tmp_path / "R.surf.gii", "R", "32k")
    with pytest.raises(UserError, match="give one file of L and one of R"):
        read_surfaces([tmp_path / "L.surf.gii"], "ico6")
    with pytest.raises(UserError, match="that of R has 32492 vertices, and ico6 has 40962"):
        read_surfaces([tmp_path / "L.surf.gii", tmp_path / "R.surf.gii"], "ico6")
    with pytest.raises(UserError, match="is no file of parcels"):
        read_parcels([tmp_path / "L.surf.gii"], 40962)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"thesis\.tex: cannot be read"):
        read_parcels([tmp_path / "thesis.tex"], 40962)
    for name in ("broken.surf.gii", "broken.label.gii"):
        (tmp_path / name).write_bytes((tmp_path / "L.surf.gii").read_bytes()[:5000])
    with pytest.raises(UserError, match=r"broken\.surf\.gii: cannot be read"):
        read_surfaces([tmp_path / "broken.surf.gii"], "ico6")
    with pytest.raises(UserError, match=r"broken\.label\.gii: cannot be read"):
        read_parcels([tmp_path / "broken.label.gii"], 40962)
    models = BrainModelAxis.from_surface(np.arange(40962), 40962, name="CIFTI_STRUCTURE_CORTEX_LEFT")
    labels = LabelAxis(["atlas"], {0: ("???", (0, 0, 0, 0)), 7: ("V1", (1, 0, 0, 1))})
    image = Cifti2Image(np.full((1, 40962), 8, "f4"), header=(labels, models))
    nibabel.save(image, tmp_path / "a.dlabel.nii")
    with pytest.raises(UserError, match="L has keys without a name in its table: 8"):
        read_parcels([tmp_path / "a.dlabel.nii"], 40962)
