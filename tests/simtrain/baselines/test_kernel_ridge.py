"""Ridge regression of every vertex: the dual form against the primal one and against scikit-learn's."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn.linear_model import Ridge as SklearnRidge

import simtrain
from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.baselines import kernel_ridge
from simtrain.baselines.courses import by_run
from simtrain.baselines.experiments import Baselines, BaselineSettings
from simtrain.baselines.kernel_ridge import by_film_clips, fit_kernel_ridge, solve_dual
from simtrain.baselines.penalties import PENALTIES
from simtrain.baselines.ridge import Fold, fit_ridge, solve
from simtrain.baselines.vertices import VertexCourses
from simtrain.cli.root import cli
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.windows import WINDOW

CPU = torch.device("cpu")


def test_penalties_and_predictions_are_those_of_the_primal_form_and_of_sklearn():
    rng = np.random.default_rng(0)
    x, fold = rng.standard_normal((90, 200)), np.repeat([0, 1, 2], [40, 20, 30])
    y = x[:, :5] @ rng.standard_normal((5, 6)) * [5, 2, 1, 0.5, 0.1, 0] + rng.standard_normal((90, 6))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    dual, penalty = solve_dual(x @ x.T, y, fold, 200, CPU)
    folds = [Fold() for _ in range(3)]
    for number, one in enumerate(folds):
        one.add(x[fold == number], y[fold == number])
    weights, _, _, primal = solve(folds, CPU)
    unit = np.square(x).sum() / 200
    errors = np.zeros((len(PENALTIES), 6))
    for row, alpha in enumerate(PENALTIES * unit):
        for held in (fold == number for number in range(3)):
            model = SklearnRidge(alpha=alpha, fit_intercept=False).fit(x[~held], y[~held])
            errors[row] += np.square(y[held] - model.predict(x[held])).sum(axis=0)
    np.testing.assert_allclose(penalty, PENALTIES[errors.argmin(axis=0)])
    np.testing.assert_allclose(penalty, primal)
    assert len(set(penalty)) > 1
    np.testing.assert_allclose(x.T @ dual, weights, atol=1e-8)
    np.testing.assert_allclose(x.T @ dual, SklearnRidge(alpha=penalty * unit).fit(x, y).coef_.T, atol=1e-8)


class _FewVertices:
    """Time courses of some of the vertices, so that the primal form is small."""

    def __init__(self, courses):
        self._courses, self.features = courses, len(range(0, courses.features, 499))
        self.ends = courses.ends

    def run(self, subject, movie):
        return np.ascontiguousarray(self._courses.run(subject, movie)[:, ::499])


def _baselines(store, *overrides, **settings):
    dataset = open_dataset(store)
    settings = BaselineSettings(inputs="vertices", **settings)
    return Baselines(dataset, resolve(load("demo", overrides), dataset), settings, CPU)


@pytest.mark.parametrize("block", [1, kernel_ridge.BLOCK])  # run by run, and all at once
def test_on_a_store_it_is_the_primal_form(store, monkeypatch, block):
    monkeypatch.setattr(kernel_ridge, "BLOCK", block)
    baselines, dataset = _baselines(store), open_dataset(store)
    courses = _FewVertices(VertexCourses(dataset, baselines._config, (0, 1)))
    windows, delays = baselines._for_ridge()
    fold, tested = windows["movie"].astype(int), windows[::3].copy()
    tested["subject"], tested["second"] = 4, tested["second"] + 5  # also beyond the run
    fitted = [fit(courses, windows, fold, baselines.targets, delays, CPU) for fit in FORMS]
    np.testing.assert_allclose(fitted[0].penalty, fitted[1].penalty)
    assert fitted[0].features == fitted[1].features == courses.features * 5
    for modality in ("video", "audio"):
        one, other = (model.predict(courses, tested, modality) for model in fitted)
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
        assert np.abs(other).max() > 0.1


FORMS = (fit_kernel_ridge, fit_ridge)


def test_vertices_are_those_of_the_cortex_as_normalised(store):
    dataset = open_dataset(store)
    stored = BoldReader(store).read(np.array([[4, 1, 0, h] for h in range(2)]), 61).astype(float)
    inside = [stored[side][:, dataset.cortex[side]] for side in range(2)]
    scored = [(one - one.mean(axis=1, keepdims=True)) / one.std(axis=1, keepdims=True) for one in inside]
    config = _baselines(store)._config
    found = VertexCourses(dataset, config, (0, 1))
    assert found.features == dataset.cortex.sum()
    np.testing.assert_allclose(found.run(4, 1), np.concatenate(scored, axis=1), atol=1e-4)
    np.testing.assert_allclose(VertexCourses(dataset, config, (1,)).run(4, 1), scored[1], atol=1e-4)
    plain = _baselines(store, "data.normalise=vertex-zscore")._config
    step = dataset.view.bold.encoding.get("scale_factor", 1.0)
    expected = step * np.concatenate(inside, axis=1)
    np.testing.assert_allclose(VertexCourses(dataset, plain, (0, 1)).run(4, 1), expected, rtol=1e-5)


def test_windows_are_drawn_in_stretches_of_a_subject_and_a_film_clip():
    windows = np.zeros(240, WINDOW)
    windows["subject"], windows["clip"] = np.repeat(np.arange(6), 40), np.tile(np.arange(40), 6)
    segment = np.repeat([[1, 2]], 20, axis=1)
    drawn = by_film_clips(windows, segment, 80, 0)
    stretches = list(zip(drawn["subject"].tolist(), (drawn["clip"] // 20).tolist(), strict=True))
    assert len(drawn) == 80
    assert {stretches.count(one) for one in stretches} == {20}
    assert [sum(clip == one for _, clip in set(stretches)) for one in (0, 1)] == [2, 2]
    assert len(by_film_clips(windows, segment, 70, 0)) == 70
    assert not np.array_equal(drawn, by_film_clips(windows, segment, 80, 1))
    np.testing.assert_array_equal(by_film_clips(windows, segment, 240, 0), windows)
    assert len(by_run(drawn)) <= 4


TEST = {"config": "demo", "experiment": "new-subjects", "clips": 40, "draws": 2, "device": "cpu"}


def test_the_planted_response_is_found_by_each_hemisphere_and_compared(store, tmp_path):
    shared = TEST | {"hemispheres": "each"}
    found = simtrain.baseline(store, tmp_path / "vertices", "ridge", inputs="vertices", **shared)["ridge"]
    for score in found.results["new-subjects"].scores.values():
        assert score.p("top-1") < 0.05
    assert set(found.notes) == {"L", "R"}
    simtrain.baseline(store, tmp_path / "patches", "ridge", ico=1, **shared)
    compared = simtrain.compare(tmp_path / "vertices/ridge", tmp_path / "patches/ridge")
    assert len(compared.metrics)


def test_the_command_has_it_and_says_what_it_saw(store, tmp_path):
    words = ["baseline", store, "--out", tmp_path, "--kind", "ridge", "--inputs", "vertices"]
    words += [
        "--config",
        "demo",
        "--experiment",
        "new-subjects",
        "--samples",
        "60",
        "--clips",
        "20",
        "--draws",
        "2",
        "--device",
        "cpu",
    ]
    result = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0
    fit = json.loads((tmp_path / "ridge/fit.json").read_text())
    assert fit["settings"]["inputs"] == "vertices"
    assert fit["notes"]["features"] == 5 * open_dataset(store).cortex.sum()
    with np.load(tmp_path / "ridge/ridge.npz") as ridge:
        assert ridge["dual"].shape == (60, 17)
        np.testing.assert_allclose(ridge["dual"].sum(axis=0), 0, atol=1e-9)


@pytest.mark.parametrize(
    ("kinds", "options", "said"),
    [
        ("ridge", {"ico": 2}, "`inputs` vertices, `ico` 2: vertices have no patches"),
        ("pca", {}, "`inputs` vertices: they are of ridge alone"),
    ],
)
def test_what_makes_no_sense_beside_vertices_is_refused(store, tmp_path, kinds, options, said):
    with pytest.raises(UserError, match=said):
        simtrain.baseline(store, tmp_path / "out", kinds, inputs="vertices", **options, **TEST)
    assert not (tmp_path / "out").exists()


def test_unknown_inputs_are_refused(store, tmp_path):
    with pytest.raises(UserError, match="inputs: 'voxels' is not one of patches, vertices"):
        simtrain.baseline(store, tmp_path / "out", "ridge", inputs="voxels", **TEST)
