"""One model on several stores: training, going on, and tests on each."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from command_line import call, sets
from processes import join
from rich.console import Console
from torch import multiprocessing
from training_runs import TINY, assert_equal, lines_of, stopping_at

import simtrain
from simdata.common.errors import UserError
from simtrain.common import distributed
from simtrain.config.composition import load
from simtrain.data.collection import joined
from simtrain.data.dataset import open_dataset
from simtrain.data.features import of_one_store
from simtrain.data.windows import TRAIN, Windows
from simtrain.models.queue import Queue
from simtrain.training import checkpoint
from simtrain.training.initial_weights import start_options
from simtrain.training.loop import fit
from simtrain.training.preparation import find_samples
from simtrain.training.run_folder import FitRun
from simtrain.training.starting import open_to_train, start_run
from simtrain.training.trained_model import load_learner
from simtrain.training.validation import JointValidation

CPU = torch.device("cpu")
FEW = {"device": "cpu", "progress": False}
QUEUED = [*TINY, "loss.queue=16", "model.patch_embedding=pca", "model.components=4"]
WITHOUT_DROPOUT = [*QUEUED, "model.dropout=0", "projector.dropout=0", "train.steps=4"]
FOUND = {"clips": 40, "draws": 2, "pool": 4, "device": "cpu", "save": False}
LEARNT = [
    *(
        "model.ico=1",
        "model.dim=32",
        "model.depth=1",
        "model.dim_head=32",
        "model.heads=1",
        "model.pool=mean",
    ),
    *("projector.average=before", "loss.weights={fmri_video: 0.8, fmri_audio: 0.1, video_audio: 0.1}"),
    *("train.steps=70", "train.batch_size=32", "train.learning_rate=4e-3", "train.validation_samples=64"),
    *("train.validate_every=35", "train.log_every=35"),
]


def _fit(stores, out, overrides=QUEUED, **options):
    return simtrain.fit(stores, out, "demo", overrides=overrides, **FEW, **options)


@pytest.fixture(scope="module")
def stores(store, other_store):
    return [store, other_store]


@pytest.fixture(scope="module")
def straight(stores, tmp_path_factory):
    return _fit(stores, tmp_path_factory.mktemp("many") / "straight", weights=[2, 1])


@pytest.fixture(scope="module")
def learnt(stores, tmp_path_factory):
    return _fit(stores, tmp_path_factory.mktemp("many") / "learnt", LEARNT)


def test_the_run_keeps_every_store(straight):
    assert {entry.name for entry in straight.path.iterdir()} == {
        *("config.yaml", "stores.json", "stores", "cortex.npy", "software.json", "metrics.jsonl"),
        *("checkpoint.pt", "best.pt", "tensorboard"),
    }
    assert json.loads((straight.path / "stores.json").read_text()) == {
        "names": ["small", "other"],
        "weights": [2.0, 1.0],
    }
    run = FitRun.open(straight.path)
    assert [store.record["catalog_name"] for store in run.stores] == ["small", "other"]
    assert [list(store.splits.subjects.lists["test"]) for store in run.stores] == [["s5", "s6"], ["s1"]]


def test_each_store_is_validated_and_the_mean_is_weighted(straight):
    lines = [line for line in lines_of(straight) if "val/loss" in line]
    assert [line["step"] for line in lines] == [4, 8, 12]
    for line in lines:
        shared = {name.rpartition("/")[2] for name in line if name.startswith("val/other/")}
        assert {"loss", "top1-video", "new-subjects-top1-audio", "retrieval"} <= shared
        for score in shared:
            one, other = line[f"val/small/{score}"], line[f"val/other/{score}"]
            assert line[f"val/{score}"] == pytest.approx((2 * one + other) / 3)


def test_a_score_that_one_store_lacks_is_the_others():
    stores = [
        SimpleNamespace(name="a", scores=lambda: {"loss": 1.0, "retrieval": 0.5}),
        SimpleNamespace(name="b", scores=lambda: {"loss": 4.0}),
    ]
    found = JointValidation(stores, [0.75, 0.25])()
    assert found == {
        "val/loss": 1.75,
        "val/retrieval": 0.5,
        "val/a/loss": 1.0,
        "val/a/retrieval": 0.5,
        "val/b/loss": 4.0,
    }


@pytest.mark.parametrize(("stop", "feed"), [(3, "auto"), (7, "stream")])
def test_an_interrupted_run_goes_on_bit_for_bit(stores, tmp_path, straight, stop, feed):
    with stopping_at(stop), pytest.raises(KeyboardInterrupt):
        _fit(stores, tmp_path / "run", weights=[2, 1])
    assert checkpoint.load(tmp_path / "run/checkpoint.pt")["step"] == stop
    run = simtrain.fit(stores, tmp_path / "run", feed=feed, **FEW)
    assert_equal(
        checkpoint.load(run.path / "checkpoint.pt"), checkpoint.load(straight.path / "checkpoint.pt")
    )
    assert lines_of(run) == lines_of(straight)


@pytest.mark.parametrize("feed", ["memory", "device"])
def test_all_feeds_give_the_same(stores, tmp_path, straight, feed):
    run = _fit(stores, tmp_path / "run", weights=[2, 1], feed=feed)
    assert lines_of(run) == lines_of(straight)


def test_another_normalisation_goes_by_the_runs_of_each_store(stores, tmp_path):
    for how in ("none", "vertex-zscore", "vertex-demean+frame-zscore"):
        overrides = [*TINY, "train.steps=2", f"data.normalise={how}", "train.learning_rate=1e-6"]
        run = _fit(stores, tmp_path / how, overrides)
        assert np.isfinite(run.metrics["train/loss"]).all()


def test_it_finds_clips_of_new_subjects_in_each_store(learnt, stores):
    for store in stores:
        found = simtrain.retrieve(learnt.path, store, experiment="new-subjects", **FOUND).metrics
        tops = found[(found.figure == "top-1") & (found.direction == "fmri->video")]
        assert tops["mean"].item() > 0.45, "nominal chance is 1 of 4"


def test_tested_on_one_store_it_is_what_it_was_in_training(learnt, stores):
    """Features are standardised by the store's own statistics, and no vertex joins."""
    run = FitRun.open(learnt.path)
    cortex = joined([open_dataset(store) for store in stores]).cortex
    state = checkpoint.load(run.tested)["learner"]
    for number, store in enumerate(stores):
        dataset = run.divided(open_dataset(store))
        assert np.array_equal(dataset.cortex, cortex)
        learner = load_learner(run, dataset, CPU)
        used = Windows.of(dataset, run.config)
        rows = used.embeddings["video"].values[used.clips == TRAIN].astype(np.float64)
        own = learner.stimuli.features["video"]
        assert torch.equal(own.mean, state["stimuli.features.video.mean"][number])
        assert own.mean.numpy() == pytest.approx(rows.mean(axis=0), rel=1e-5)
        assert own.std.numpy() == pytest.approx(rows.std(axis=0), rel=1e-5)


def test_the_statistics_of_all_stores_serve_another_one(learnt, stores):
    run = FitRun.open(learnt.path)
    both = joined([open_dataset(store) for store in stores])
    samples, _ = find_samples(Windows.of(both, run.config), run.config)
    share = np.mean(samples["subject"] < len(both.parts[0].subjects))
    state = checkpoint.load(run.tested)["learner"]
    mean, std = (state[f"stimuli.features.audio.{of}"].double() for of in ("mean", "std"))
    assert mean.shape == (3, 7)
    assert mean[2].numpy() == pytest.approx((share * mean[0] + (1 - share) * mean[1]).numpy(), rel=1e-5)
    spread = share * (std[0] ** 2 + (mean[0] - mean[2]) ** 2)
    spread += (1 - share) * (std[1] ** 2 + (mean[1] - mean[2]) ** 2)
    assert std[2].numpy() == pytest.approx(spread.sqrt().numpy(), rel=1e-5)
    of_another = of_one_store(state, None)
    assert torch.equal(of_another["stimuli.features.audio.mean"], state["stimuli.features.audio.mean"][2])
    assert of_another.keys() == state.keys()


def test_a_new_data_set_is_a_test_of_generalisation_and_said_to_be(store, other_store, straight, tmp_path):
    alone = _fit(store, tmp_path / "alone", [*TINY, "train.steps=2"])
    few = ["--experiment", "new-subjects", "--clips", 10, "--draws", 2, "--pool", 3]
    told = call("retrieve", alone.path, other_store, *few)
    assert "of small: this is another data set" in " ".join(told.split())
    assert FitRun.open(alone.path).seen(open_dataset(other_store)).seen == frozenset(), "though s1 was seen"
    told = call("retrieve", straight.path, other_store, *few)
    assert "another data set" not in told


def test_a_training_subject_of_either_store_is_not_new(straight, stores):
    run = FitRun.open(straight.path)
    assert run.seen(open_dataset(stores[0])).seen == {"s1", "s2", "s3", "s4"}
    assert run.seen(open_dataset(stores[1])).trained == {"t1", "t2"}
    splits = {"subjects": {"test": ["t1"]}}
    with pytest.raises(UserError, match=r"new-subjects: .* was trained or validated on t1"):
        simtrain.retrieve(straight.path, stores[1], experiment="new-subjects", splits=splits, **FOUND)


def test_going_on_takes_the_same_stores_in_the_same_order(straight, stores, tmp_path):
    run = shutil.copytree(straight.path, tmp_path / "run")
    with pytest.raises(UserError, match="is a run of small, other, in this order"):
        simtrain.fit(stores[0], run, **FEW)
    with pytest.raises(UserError, match="is a run of small, other, in this order"):
        simtrain.fit(stores[::-1], run, **FEW)
    with pytest.raises(UserError, match="was begun with `weights` 2,1, not with `weights` 1,1"):
        simtrain.fit(stores, run, weights=[1, 1], **FEW)
    with pytest.raises(UserError, match="`splits`: 3 are given for 2 stores"):
        simtrain.fit(stores, run, splits=[None, None, None], **FEW)


def test_splits_are_given_for_each_store_and_kept(stores, tmp_path):
    splits = ["store", {"subjects": {"test": ["t4"]}}]
    run = _fit(stores, tmp_path / "run", [*TINY, "train.steps=2"], splits=splits)
    kept = [store.splits.subjects.lists["test"] for store in FitRun.open(run.path).stores]
    assert [list(one) for one in kept] == [["s5", "s6"], ["t4"]]
    assert simtrain.fit(stores, run.path, **FEW).notes == []
    with pytest.raises(UserError, match=r"was trained on other data than .*other\.zarr has now"):
        simtrain.fit(stores, run.path, splits=[None, {"subjects": {"test": ["t1"]}}], **FEW)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"names": [1], "weights": null}', '{"names": ["a", "b"], "weights": [1]}']
)
def test_a_damaged_list_of_stores_is_named(straight, stores, tmp_path, text):
    run = shutil.copytree(straight.path, tmp_path / "run")
    (run / "stores.json").write_text(text)
    with pytest.raises(UserError, match=r"stores\.json is missing or damaged"):
        simtrain.fit(stores, run, **FEW)


@pytest.mark.parametrize("cut", [0, 40, 3000])
def test_a_damaged_cortex_is_named(straight, stores, tmp_path, cut):
    run = shutil.copytree(straight.path, tmp_path / "run")
    (run / "cortex.npy").write_bytes((run / "cortex.npy").read_bytes()[:cut])
    with pytest.raises(UserError, match=r"cortex\.npy is missing or damaged"):
        simtrain.retrieve(run, stores[0], **FOUND)


def test_pretraining_on_both_is_where_training_on_one_begins(stores, tmp_path):
    short = ["train.steps=2", "train.batch_size=8", "train.validation_samples=8"]
    small = ["model.ico=1", "model.dim=8", "model.depth=1", *short]
    begun = simtrain.pretrain(stores, tmp_path / "pre", overrides=small, **FEW)
    assert {"val/small/loss", "val/other/unseen", "val/loss"} <= set(begun.metrics)
    started = [word for word in start_options(begun.config, begun.path) if word != "--set"]
    fitted = simtrain.fit(stores[1], tmp_path / "run", overrides=[*started, *short], **FEW)
    run = FitRun.open(fitted.path)
    assert run.seen(open_dataset(stores[1])).seen == {"t1", "t2", "t4"}, "s1 is of the other data set"
    assert run.seen(open_dataset(stores[0])).seen == {"s1", "s2", "s3", "s4"}


def test_the_queue_has_no_negatives_of_another_store():
    queue = Queue(4, ["fmri"], 3, 3, np.arange(3), np.array([0, 0, 1]))
    samples = np.zeros(3, [("movie", "i4"), ("second", "i4"), ("clip", "i4")])
    samples["movie"], samples["second"], samples["clip"] = [0, 1, 2], [0, 20, 40], [0, 20, 40]
    queue.add({"fmri": torch.ones(3, 3)}, samples)
    asked = samples[:2].copy()
    asked["movie"], asked["second"], asked["clip"] = [0, 2], 60, 60
    assert queue(asked).ignore.tolist() == [[False, False, True, True], [True, True, False, True]]


def test_a_command_trains_on_both_and_says_how_to_test_on_each(stores, tmp_path):
    out = tmp_path / "run"
    short = sets([*TINY, "train.steps=2"])
    told = call(
        "fit", *stores, "--out", out, "--config", "demo", *short, "--weights", "3,1", "--device", "cpu"
    )
    assert "small: 75.0% of the batches; 376 training samples" in told
    for store in stores:
        assert f"simtrain retrieve {out} {store}" in told
    assert "step 2, other: loss" in told


def _in_two(rank, folder, stores):
    join(rank, folder)
    dataset = open_to_train(stores, folder / "both", [], FitRun)
    run = start_run(dataset, load("demo", WITHOUT_DROPOUT), folder / "both")
    fit(dataset, run, CPU, Console(quiet=True))
    distributed.gather_objects([None])


def test_two_processes_train_as_one(stores, tmp_path):
    multiprocessing.spawn(_in_two, args=(tmp_path, stores), nprocs=2)
    alone = _fit(
        stores, tmp_path / "alone", [*QUEUED, "model.dropout=0", "projector.dropout=0", "train.steps=4"]
    )
    both = FitRun.open(tmp_path / "both")
    for line, other in zip(lines_of(both), lines_of(alone), strict=True):
        assert line == pytest.approx(other, rel=1e-3, abs=1e-4)


def test_a_start_that_was_killed_may_begin_again_on_one_store(stores, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("simtrain.training.run_folder.software.write", killed)
    with pytest.raises(KeyboardInterrupt):
        _fit(stores, tmp_path / "run", [*TINY, "train.steps=1"])
    monkeypatch.undo()
    run = _fit(stores[0], tmp_path / "run", [*TINY, "train.steps=1"])
    assert [store.folder for store in FitRun.open(run.path).stores] == [run.path]
