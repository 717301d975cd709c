"""One query for all modalities of the stimulus, against loops, and weights that validation chooses."""

import json
import shutil

import numpy as np
import pytest
import torch
from command_line import call
from hypothesis import given, settings
from hypothesis import strategies as st

import simtrain
from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.sets import with_splits
from simtrain.data.windows import Windows
from simtrain.models.embeddings import embed_units
from simtrain.retrieval.cache import Bank
from simtrain.retrieval.evaluation import put_to_test
from simtrain.retrieval.examination import Examinee
from simtrain.retrieval.joint import chosen_of, grid
from simtrain.retrieval.named_protocols import named
from simtrain.retrieval.protocol import Protocol
from simtrain.retrieval.trials import EmbeddedWindows
from simtrain.training.trained_model import load_learner

QUICK = {"experiment": "new-subjects", "pool": 8, "device": "cpu", "save": False}
WITH_VALIDATION = {
    "subjects": {"val": ["s3", "s4"], "test": ["s5", "s6"]},
    "scenes": {"clips": {"val": ["gamma"], "test": ["beta", "delta"]}},
}


@pytest.fixture(scope="module")
def planted(store):
    """Windows of a store with validation, and what makes a model of planted embeddings on it."""
    dataset = with_splits(open_dataset(store), WITH_VALIDATION)
    used = Windows.of(dataset, resolve(load("demo"), dataset))

    def examinee_of(noise):
        """Of each modality by itself: BOLD is its clip's vector under noise of that size."""
        clips = {
            name: _unit(np.random.default_rng(ord(name[0])).standard_normal((2, 80, 12))) for name in noise
        }

        def embed(name, windows):
            rng = np.random.default_rng([ord(name[0]), windows["second"].sum()])
            own = clips[name][windows["movie"], windows["second"] - 6]
            return _unit(own + noise[name] * rng.standard_normal(own.shape))[:, None].astype(np.float32)

        class Model:
            window = 3

            def embed_clips(self, movie, clip):
                return {name: torch.from_numpy(clips[name][movie, clip]) for name in noise}

        def of(windows):
            banks = {name: Bank(lambda some, name=name: embed(name, some), dataset) for name in noise}
            return Examinee(Model(), banks, dataset)

        return of

    return used, examinee_of


def _unit(values):
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def _top1(result):
    return {direction: measures["top-1"].mean for direction, measures in result.measures.items()}


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_the_grid_is_all_of_a_simplex_and_begins_with_what_is_most_alike(count):
    points = grid(count)
    np.testing.assert_allclose(points.sum(axis=1), 1)
    assert len(np.unique(points, axis=0)) == len(points) <= 126
    assert {tuple(row) for row in np.eye(count)} <= {tuple(row) for row in points}
    apart = np.square(points - 1 / count).sum(axis=1)
    assert (np.diff(apart) >= -1e-12).all()


def test_of_equally_good_weights_those_most_alike_are_taken():
    points = np.array([[0.5, 0.5], [0.6, 0.4], [1.0, 0.0]])
    scores = np.array([[0.2, 0.4], [0.5, 0.3], [0.4, 0.4]])  # groups count alike: .3, .4, .4
    found = chosen_of(("video", "audio"), points, scores)
    assert found.weights == {"video": 0.6, "audio": 0.4}
    assert str(found) == "video+audio: sum of similarities, 0.60 video, 0.40 audio, chosen by validation"


@settings(max_examples=20)
@given(st.integers(0, 999), st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_products_of_what_is_joined_are_weighted_sums(seed, weights):
    rng = np.random.default_rng(seed)
    parts = {
        name: EmbeddedWindows(rng.standard_normal((2, 5, dim)), rng.standard_normal((7, dim)), np.arange(5))
        for name, dim in (("a", 3), ("b", 4), ("c", 2))
    }
    joined = EmbeddedWindows.joined(parts, dict(zip(parts, weights, strict=True)))
    summed = sum(
        weight * np.einsum("uwd,rd->uwr", part.fmri, part.stimulus)
        for weight, part in zip(weights, parts.values(), strict=True)
    )
    np.testing.assert_allclose(np.einsum("uwd,rd->uwr", joined.fmri, joined.stimulus), summed, atol=1e-5)


def test_ranks_of_one_query_equal_a_loop(trained, store):
    weights = {"video": 3, "audio": 1}
    found = simtrain.retrieve(trained, store, joint=weights, **QUICK)
    assert found.joint.weights == {"video": 0.75, "audio": 0.25}
    dataset = trained.divided(open_dataset(store))
    windows = Windows.of(dataset, trained.config).experiment("new-subjects", 6)
    learner = load_learner(trained, dataset, torch.device("cpu"))
    fmri = embed_units(learner, BoldReader(dataset.path), ("mean",), windows, frames=3)[:, 0]
    with torch.no_grad():
        clips = learner.embed_clips(windows["movie"], windows["clip"])
    similarity = sum(share * fmri @ clips[name].numpy().T for name, share in found.joint.weights.items())
    told = found.tables["windows"]
    for direction, table in (("fmri->video+audio", similarity), ("video+audio->fmri", similarity.T)):
        ranks = {}
        for one, (window, values) in enumerate(zip(windows, table, strict=True)):
            against = (windows["subject"] == window["subject"]) & (windows["movie"] == window["movie"])
            against &= abs(windows["second"] - window["second"]) >= 3
            rank = 1 + (values[against] >= values[one] - 1e-6).sum()
            ranks[dataset.subjects[window["subject"]], dataset.movies[window["movie"]], window["clip"]] = rank
        rows = told[told.direction == direction]
        assert len(rows) == len(ranks)
        assert all(
            row.rank_ == ranks[row.subject, row.movie, row.clip_second]
            for row in rows.rename(columns={"rank": "rank_"}).itertuples()
        )


def test_what_says_nothing_has_no_weight_and_what_tells_apart_is_added_up(planted):
    used, examinee_of = planted
    protocol = Protocol(lag=6, pool=8)
    deaf = put_to_test(examinee_of({"video": 0.6, "audio": 50.0}), used, "new-subjects", protocol)[
        "new-subjects"
    ]
    assert deaf.joint.by == "validation"
    assert deaf.joint.weights["video"] >= 0.8
    alike = put_to_test(examinee_of({"video": 0.6, "audio": 0.6}), used, "new-subjects", protocol)[
        "new-subjects"
    ]
    found = _top1(alike)
    assert found["fmri->video+audio"] > max(found["fmri->video"], found["fmri->audio"]) + 0.05
    assert found["video+audio->fmri"] > max(found["video->fmri"], found["audio->fmri"]) + 0.05
    assert 0.3 <= alike.joint.weights["video"] <= 0.7


def test_the_other_directions_are_what_they_are_without_it(planted):
    used, examinee_of = planted
    both = examinee_of({"video": 0.6, "audio": 1.0})
    with_it, without = (
        put_to_test(both, used, "both", Protocol(lag=6, joint=way, split="val")) for way in ("equal", "none")
    )
    of_all = with_it["both"].measures
    assert set(of_all) - set(without["both"].measures) == {"fmri->video+audio", "video+audio->fmri"}
    assert without["both"].joint is None
    for direction, measures in without["both"].measures.items():
        assert measures == of_all[direction]


def test_weights_are_chosen_by_validation_whatever_is_tested(planted):
    used, examinee_of = planted
    fitted = examinee_of({"video": 0.8, "audio": 1.2})
    weights = [
        put_to_test(fitted, used, "new-subjects", Protocol(lag=6, pool=8, **asked))["new-subjects"].joint
        for asked in ({}, {"split": "val"}, {"subjects": ("s5",)}, {"draws": 2}, {"shuffle": True})
    ]
    assert all(one == weights[0] for one in weights)


def test_without_validation_all_are_alike_and_it_is_said(planted, store):
    _, examinee_of = planted
    dataset = with_splits(open_dataset(store), {"subjects": {"test": ["s5"]}, "scenes": {}})
    used = Windows.of(dataset, resolve(load("demo"), dataset))
    three = examinee_of({"video": 0.6, "audio": 1.0, "text_words": 2.0})
    found = put_to_test(three, used, None, Protocol(lag=6))["new-subjects"].joint
    assert found.name == "video+audio+text_words"
    assert set(found.weights.values()) == {1 / 3}
    assert "since validation has no such test" in str(found)


def test_one_modality_or_pools_that_differ_make_no_such_query(planted):
    used, examinee_of = planted
    both = examinee_of({"video": 0.6, "audio": 1.0})
    pools = {"pool": {"video": 8, "audio": 5}}
    found = put_to_test(both, used, "new-subjects", Protocol(lag=6, **pools))["new-subjects"]
    assert (found.joint, len(found.measures)) == (None, 4)
    with pytest.raises(UserError, match="`joint` equal: modalities have other pools or gaps"):
        put_to_test(both, used, "new-subjects", Protocol(lag=6, joint="equal", **pools))
    alone = put_to_test(examinee_of({"video": 0.6}), used, "new-subjects", Protocol(lag=6))["new-subjects"]
    assert (alone.joint, len(alone.measures)) == (None, 2)


def test_published_protocols_have_none():
    assert {name: named(name, 6).joint for name in ("ours", "published-code", "published-paper")} == {
        "ours": "validation",
        "published-code": "none",
        "published-paper": "none",
    }


@pytest.mark.parametrize(
    ("joint", "message"),
    [
        ("best", "joint: 'best' is not one of validation, equal, none"),
        ({"video": 1}, "`joint` video=1: says nothing of audio"),
        ({"video": 0, "audio": 0}, "weights are 0 or more, and one of them is not 0"),
        ({"video": 2, "audio": -1}, "weights are 0 or more"),
        ({"video": float("nan"), "audio": 1}, "weights are 0 or more"),
        ({}, "joint: is an empty mapping"),
    ],
)
def test_weights_that_make_no_sense_are_refused(trained, store, joint, message):
    with pytest.raises(UserError, match=message):
        simtrain.retrieve(trained, store, joint=joint, **QUICK)


def test_it_is_in_all_that_is_written_and_compared(trained, store, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained.path, run, ignore=shutil.ignore_patterns("retrieval*", "reconstruction"))
    words = ["--experiment", "new-subjects", "--pool", 8, "--device", "cpu"]
    shown = call("retrieve", run, store, *words, "--joint", "video=0.5,audio=1.5")
    assert "video+audio: sum of similarities, 0.25 video, 0.75 audio, as given" in " ".join(shown.split())
    assert "…" not in shown
    written = json.loads((run / "retrieval.json").read_text())
    assert written["joint"] == {"weights": {"video": 0.25, "audio": 0.75}, "by": "given", "note": "as given"}
    assert written["protocol"]["joint"] == {"video": 0.5, "audio": 1.5}
    assert "video+audio->fmri" in written["experiments"]["new-subjects"]["directions"]
    call("retrieve", run, store, *words, "--out", tmp_path / "by-validation")
    chosen = json.loads((tmp_path / "by-validation" / "retrieval.json").read_text())["joint"]
    assert chosen["by"] == "validation"
    with pytest.raises(UserError, match="not put to the same test: joint"):
        simtrain.compare(run, tmp_path / "by-validation")
    (tmp_path / "old").mkdir()
    call("retrieve", run, store, *words, "--joint", "none", "--out", tmp_path / "old")
    del written["protocol"]["joint"]
    old = json.loads((tmp_path / "old" / "retrieval.json").read_text())
    assert old["joint"] is None
    del old["protocol"]["joint"]  # as tests of before
    (tmp_path / "old" / "retrieval.json").write_text(json.dumps(old))
    compared = simtrain.compare(run, tmp_path / "old").metrics
    assert set(compared.direction) == {"fmri->video", "video->fmri", "fmri->audio", "audio->fmri"}
    assert (compared.difference == 0).all()


def test_a_baseline_has_it_too(store, tmp_path):
    asked = {"config": "demo", "ico": 1, "pool": 8, "experiment": "new-subjects", "device": "cpu"}
    found = simtrain.baseline(store, tmp_path, "ridge", **asked)["ridge"]
    assert found.joint.by == "validation"
    top1 = found.metrics.query("figure == 'top-1'").set_index("direction")["mean"]
    assert top1["fmri->video+audio"] > 2 / 8
