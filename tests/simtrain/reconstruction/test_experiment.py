import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from click.testing import CliRunner
from scipy.special import softmax
from skimage.color import rgb2gray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.cli.root import cli
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.windows import clip_split
from simtrain.models.embeddings import embed_fmri
from simtrain.reconstruction.decoders import load_decoder
from simtrain.reconstruction.experiment import ReconstructionSettings, Reconstructor
from simtrain.reconstruction.thumbnails import PIXEL_SCORES
from simtrain.retrieval import intervals
from simtrain.retrieval.units import EVERYONE
from simtrain.training.run_folder import FitRun
from simtrain.training.trained_model import load_learner

CPU = torch.device("cpu")
SETTINGS = ReconstructionSettings(
    lag=6, exclude="movie", scenes="train", neighbours=3, average_subjects=False, every=1, seed=0
)
SCORES = [*PIXEL_SCORES, "video_shapes"]
# A decoder as a user would write one: it learns pixels from the features of training scenes.
DECODER = """
import os

import numpy as np
import xarray as xr
from sklearn.linear_model import Ridge

class Pixels:
    def __init__(self):
        with xr.open_zarr(os.environ["MY_STORE"]) as store:
            rows = (store.scene_split.values == 1) & ~np.isnan(store.video_shapes.values).any(axis=-1)
            movie, second = np.nonzero(rows)
            frames = store.frame.values[movie, second + 1]
            self.size = frames.shape[1:]
            self.ridge = Ridge(1.0).fit(store.video_shapes.values[rows], frames.reshape(len(frames), -1))

    def decode(self, embeddings, info):
        assert info.features == "video_shapes"
        assert info.attributes["encoder"] == "shapes"
        assert info.subject in ("s5", "s6")
        frames = self.ridge.predict(embeddings).reshape(-1, *self.size)
        return np.clip(frames, 0, 255).astype(np.uint8)
"""


def _reconstruct(run, store, by=None, **changes):
    made = Reconstructor(run, open_dataset(store), replace(SETTINGS, **changes), CPU, by)
    return made.experiments("new-subjects")["new-subjects"]


@pytest.fixture(scope="module")
def found(trained, store):
    return _reconstruct(trained, store, panels=5)


@pytest.fixture(scope="module")
def opened(store):
    with xr.open_zarr(store) as dataset:
        return dataset[["frame", "video_shapes", "segment", "scene_split"]].load()


def _mean(found, maker, score):
    return found.scores[maker, score].value.mean()


def test_the_planted_pictures_are_found_in_new_subjects(found):
    for score in SCORES:
        for maker in ("nearest", "weighted"):
            one, identified = found.scores[maker, score], found.two_way[maker, score]
            assert one.value.mean() > one.chance.mean()
            assert one.p < 0.05, (maker, score)
            assert identified.value.mean() > 0.55
            assert identified.p < 0.01
            # Below 0.5, since what BOLD of another moment shows is one of the few others.
            assert 0.4 < identified.chance.mean() < 0.5


def test_references_are_in_the_order_that_they_must_be_in(found):
    for score in SCORES:
        best = found.scores["gallery best", score].value
        for maker in ("nearest", "perfect BOLD"):
            assert (best >= found.scores[maker, score].value - 1e-6).all()
        for maker in ("gallery best", "gallery mean"):
            assert found.scores[maker, score].p is None
            assert (maker, score) not in found.two_way
    assert _mean(found, "perfect BOLD", "correlation") > _mean(found, "nearest", "correlation")


def test_wrong_lags_are_at_chance(trained, store):
    """By the median of several: pictures of two moments of few clips may well resemble each other."""
    wrong = [_reconstruct(trained, store, lag=lag) for lag in (12, 16, 20, 24, 30)]
    for maker in ("nearest", "weighted"):
        for score in SCORES:
            assert np.median([one.scores[maker, score].p for one in wrong]) > 0.05
            assert np.median([one.two_way[maker, score].value.mean() for one in wrong]) < 0.56


def _ssim(made, true):
    options = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 1.0}
    return structural_similarity(rgb2gray(made / 255), rgb2gray(true / 255), **options)


def _scored(made, true):
    return {
        "ssim": _ssim(made, true),
        "psnr": peak_signal_noise_ratio(true / 255, made / 255, data_range=1),
        "correlation": np.corrcoef(made.ravel(), true.ravel())[0, 1],
    }


@pytest.mark.parametrize("exclude", ["movie", "scene"])
@pytest.mark.parametrize("scenes", ["train", "all"])
def test_all_scores_equal_a_plain_loop(trained, store, opened, exclude, scenes):
    neighbours, dataset = 4, open_dataset(store)
    result = _reconstruct(trained, store, exclude=exclude, scenes=scenes, neighbours=neighbours)
    learner = load_learner(trained, dataset, CPU)
    split = clip_split(dataset, dataset.embeddings(trained.config).values())
    every = list(zip(*np.nonzero(split == 1 if scenes == "train" else split), strict=True))
    with torch.no_grad():
        vectors = learner.embed_clips(*np.array(every).T)["video"].numpy()
    features = opened.video_shapes.values.astype(float)
    features = (features - features[split == 1].mean(axis=0)) / features[split == 1].std(axis=0)
    chosen = np.random.default_rng(0).choice(len(result.windows), 12, replace=False)
    fmri = embed_fmri(learner, BoldReader(store), result.windows[chosen], 3)
    segment, frame = opened.segment.values, opened.frame.values.astype(float)
    compared = 0
    for place, query in zip(chosen, fmri, strict=True):
        movie, clip = (int(result.windows[place][axis]) for axis in ("movie", "clip"))
        kept = [
            i
            for i, (m, c) in enumerate(every)
            if segment[m, c] != segment[movie, clip] and not (exclude == "movie" and m == movie)
        ]
        # Nothing within 3 s of any window of the same film clip.
        own = [c for m, c in zip(*np.nonzero(split), strict=True) if segment[m, c] == segment[movie, clip]]
        kept = [i for i in kept if every[i][0] != movie or min(abs(every[i][1] - c) for c in own) >= 3]
        similarity = vectors[kept] @ query
        last, next_one = np.sort(similarity)[-neighbours], np.sort(similarity)[-neighbours - 1]
        if last - next_one < 1e-6:
            continue  # rounding decides which of two clips that look alike is the last neighbour
        compared += 1
        order = np.argsort(-similarity)[:neighbours]
        weight = softmax(similarity[order] / learner.loss.temperature)
        index = [every[kept[i]] for i in order]
        assert result.nearest[place].tolist() == list(index[0])
        true, true_features = frame[movie, clip + 1], features[movie, clip]
        weighted = sum(w * frame[m, c + 1] for w, (m, c) in zip(weight, index, strict=True))
        mean = np.mean([frame[every[i][0], every[i][1] + 1] for i in kept], axis=0)
        weighted_features = sum(w * features[m, c] for w, (m, c) in zip(weight, index, strict=True))
        m, c = index[0]
        made = {"nearest": frame[m, c + 1], "weighted": weighted, "gallery mean": mean}
        for maker, picture in made.items():
            for score, expected in _scored(picture, true).items():
                assert result.scores[maker, score].value[place] == pytest.approx(expected, abs=1e-3)
        for maker, one in (("nearest", features[m, c]), ("weighted", weighted_features)):
            expected = one @ true_features / np.linalg.norm(one) / np.linalg.norm(true_features)
            assert result.scores[maker, "video_shapes"].value[place] == pytest.approx(expected, abs=1e-3)
        best = max(_ssim(frame[every[i][0], every[i][1] + 1], true) for i in kept)
        assert result.scores["gallery best", "ssim"].value[place] == pytest.approx(best, abs=1e-3)
    assert compared >= 10


def test_the_mean_of_subjects_is_looked_up_once(trained, store, found):
    averaged = _reconstruct(trained, store, average_subjects=True)
    assert (averaged.windows["subject"] == EVERYONE).all()
    assert 2 * len(averaged.windows) == len(found.windows)
    score = ("weighted", "correlation")
    assert averaged.two_way[score].value.mean() > found.two_way[score].value.mean() - 0.02
    assert averaged.two_way[score].p < 0.01


def test_fewer_windows_are_of_every_so_many_seconds(trained, store, found):
    thinned = _reconstruct(trained, store, every=2, seed=1)
    assert (thinned.windows["clip"] % 2 == 0).all()
    kept = found.windows["clip"] % 2 == 0
    np.testing.assert_array_equal(thinned.windows, found.windows[kept])
    key = ("weighted", "ssim")
    np.testing.assert_allclose(thinned.scores[key].value, found.scores[key].value[kept], atol=1e-5)


def test_panels_show_what_was_scored(found, opened):
    assert len(found.panels) == 5
    assert {int(panel.window["subject"]) for panel in found.panels} == {4, 5}
    assert {int(panel.window["movie"]) for panel in found.panels} == {0, 1}
    for panel in found.panels:
        names = ["truth", "nearest", "weighted", "perfect BOLD", "gallery best"]
        assert list(panel.frames) == names
        movie, clip = panel.window["movie"], panel.window["clip"]
        np.testing.assert_array_equal(panel.frames["truth"], opened.frame.values[movie, clip + 1])
        place = np.flatnonzero(found.windows == panel.window)[0]
        for name in names[1:]:
            assert panel.frames[name].dtype == np.uint8
            assert panel.score[name] == pytest.approx(found.scores[name, "ssim"].value[place], abs=1e-6)
            shown = _scored(panel.frames[name] / 1.0, panel.frames["truth"] / 1.0)["ssim"]
            assert panel.score[name] == pytest.approx(shown, abs=0.01)  # a mean is rounded to be shown


@pytest.fixture
def pixels(store, tmp_path, monkeypatch):
    (tmp_path / "my_pixels.py").write_text(DECODER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MY_STORE", str(store))
    return "my_pixels:Pixels"


def test_a_users_decoder_is_given_predicted_features_and_scored(trained, store, pixels):
    result = _reconstruct(trained, store, load_decoder(pixels), decoder=pixels, features="shapes", panels=1)
    for score in PIXEL_SCORES:
        assert result.two_way["decoder", score].p < 0.01
        assert result.scores["decoder", score].p < 0.01
    assert ("decoder", "video_shapes") not in result.scores
    assert _mean(result, "decoder", "correlation") > _mean(result, "nearest", "correlation")
    assert "decoder" in result.panels[0].frames


def _call(*arguments):
    return CliRunner().invoke(cli, ["reconstruct", *map(str, arguments), "--device", "cpu"])


def test_the_command_writes_tables_and_sheets(trained, store, pixels, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(intervals, "FEWEST", 2)
    options = [
        "--experiment",
        "new-subjects",
        "--every",
        2,
        "--decoder",
        pixels,
        "--decoder-features",
        "shapes",
    ]
    result = _call(trained.path, store, *options, "--sheet", 3)
    assert result.exit_code == 0, result.output
    assert "shapes*" in result.output
    assert "…" not in result.output
    folder = trained.path / "reconstruction"
    files = {"scores.csv", "subjects.csv", "clips.csv", "windows.csv", "reconstruction.json"}
    assert {path.name for path in folder.iterdir()} == files | {"sheet-new-subjects.png"}
    assert (folder / "sheet-new-subjects.png").read_bytes().startswith(b"\x89PNG")
    written = json.loads((folder / "reconstruction.json").read_text())
    assert written["trained_on"] == "video_shapes"
    assert written["frame"] == "1 s after the clip begins: picture on screen when the second begins"
    assert written["linear_map"]["r2_validation"] > 0.1
    assert written["settings"]["decoder"] == pixels
    with (folder / "windows.csv").open() as file:
        windows = list(csv.DictReader(file))
    assert len(windows) == written["experiments"]["new-subjects"]["windows"]
    assert all(row["movie"] != row["nearest_movie"] for row in windows)
    for row in written["tables"]["scores"]:
        values = [float(one[f"{row['score']} of {row['from']}"]) for one in windows]
        assert row["mean"] == pytest.approx(np.mean(values))
        assert (row["low"] is None) == (row["from"] in ("gallery mean", "perfect BOLD", "gallery best"))
    for row in written["tables"]["subjects"]:
        own = [one for one in windows if one["subject"] == row["subject"]]
        assert row["n"] == len(own)
        values = [float(one[f"{row['score']} of {row['from']}"]) for one in own]
        assert row["mean"] == pytest.approx(np.mean(values))
    assert {(row["movie"], row["clip"]) for row in written["tables"]["clips"]} == {
        ("M1", "alpha"),
        ("M2", "gamma"),
    }

    result = _call(trained.path, store, "--experiment", "new-subjects", "--sheet", 0)
    assert result.exit_code == 0, result.output
    assert {path.name for path in folder.iterdir()} == files


def test_what_cannot_be_reconstructed_is_explained(trained, store, pixels, tmp_path):
    def call(*arguments):
        result = _call(*arguments, "--sheet", 0)
        assert isinstance(result.exception, UserError)
        return str(result.exception)

    assert "--decoder-features without --decoder" in call(trained.path, store, "--decoder-features", "shapes")
    unknown = call(trained.path, store, "--decoder", pixels, "--decoder-features", "clip")
    assert "no video embedding 'clip'; it has: shapes" in unknown
    assert "too few to know chance" in call(trained.path, store, "--experiment", "new-scenes")
    assert "no clip begins at a multiple of 1000 s" in call(trained.path, store, "--every", "1000")

    without = tmp_path / "without.zarr"
    shutil.copytree(store, without, ignore=shutil.ignore_patterns("frame"))
    shutil.rmtree(without / "frame", ignore_errors=True)
    group = zarr.open_group(without, mode="a")
    with pytest.warns(UserWarning, match="Consolidated metadata"):
        zarr.consolidate_metadata(group.store)
    assert "has no thumbnails (frame)" in call(trained.path, without)

    deaf = FitRun.start(
        tmp_path / "deaf", resolve(load("demo", [], "fmri,audio"), open_dataset(store)), open_dataset(store)
    )
    assert "was trained without video" in call(deaf.path, store)
