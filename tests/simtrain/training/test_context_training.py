"""Training with BOLD around the windows: gone on with, shared out, put to use, and where it has no place."""

import numpy as np
import pytest
import torch
import xarray as xr
from processes import join
from rich.console import Console
from torch import multiprocessing
from training_runs import CPU, assert_equal, fit_run, lines_of, start_run, stopping_at

import simtrain
from simdata.common.errors import UserError
from simtrain.common import distributed
from simtrain.data.dataset import open_dataset
from simtrain.training import checkpoint
from simtrain.training.loop import fit

AROUND = ("model.heads=2", "context.before=9", "context.after=8", "context.ico=1", "context.depth=1")
QUICK = {"experiment": "new-subjects", "pool": 4, "draws": 2, "device": "cpu", "save": False}
NO_DROPOUT = (*AROUND, "model.dropout=0", "train.steps=4")


@pytest.fixture(scope="module")
def straight(store, tmp_path_factory):
    run, _ = fit_run(store, tmp_path_factory.mktemp("context") / "run", *AROUND)
    return run


def test_it_goes_on_bit_for_bit(store, tmp_path, straight):
    with stopping_at(7):
        fit_run(store, tmp_path / "run", *AROUND)
    run, _ = fit_run(store, tmp_path / "run", *AROUND)
    assert_equal(checkpoint.load(run.checkpoint), checkpoint.load(straight.checkpoint))
    assert lines_of(run) == lines_of(straight)


def test_the_context_is_trained(straight):
    assert checkpoint.load(straight.checkpoint)["learner"]["sim.temporal.out.weight"].any()


def _train(rank, folder, store):
    join(rank, folder)
    dataset, run = distributed.first_before_others(lambda: start_run(store, folder / "both", *NO_DROPOUT))
    fit(dataset, run, CPU, Console(quiet=True))
    torch.distributed.destroy_process_group()


def test_two_processes_and_two_parts_train_as_one(store, tmp_path):
    fit_run(store, tmp_path / "one", *NO_DROPOUT)
    fit_run(store, tmp_path / "parts", *NO_DROPOUT, "train.accumulate=2")
    multiprocessing.spawn(_train, args=(tmp_path, store), nprocs=2)
    one, parts, both = (
        checkpoint.load(tmp_path / name / "checkpoint.pt")["learner"] for name in ("one", "parts", "both")
    )
    for name, values in one.items():
        torch.testing.assert_close(parts[name], values, rtol=1e-3, atol=1e-5, msg=name)
        torch.testing.assert_close(both[name], values, rtol=1e-3, atol=1e-5, msg=name)


def test_it_is_tested_and_predicts(store, straight, tmp_path):
    assert set(simtrain.retrieve(straight.path, store, **QUICK).metrics.experiment) == {"new-subjects"}
    simtrain.predict(straight.path, store, tmp_path / "embeddings.zarr", device="cpu")
    with xr.open_zarr(tmp_path / "embeddings.zarr") as written:
        norms = np.linalg.norm(written.fmri.values, axis=-1)
    np.testing.assert_allclose(norms[~np.isnan(norms)], 1, rtol=1e-5)


def test_where_it_has_no_place_it_is_refused(store, straight, tmp_path):
    with pytest.raises(UserError, match="saliency: the model also sees 17 s of BOLD around a window"):
        simtrain.saliency(straight.path, store, device="cpu", save=False)
    overrides = {"context.before": 5}
    with pytest.raises(UserError, match=r"context\.before, context\.after: baselines see windows alone"):
        simtrain.baseline(store, tmp_path / "base", "ridge", config="demo", overrides=overrides)
    with pytest.raises(UserError, match="context: unknown key"):
        simtrain.pretrain(store, tmp_path / "pre", "demo", overrides=overrides)
    for wrong in ({"context.before": 90, "context.after": 20}, {"data.frames": 50, "context.after": 51}):
        with pytest.raises(UserError, match="at most 100 s are possible"):
            simtrain.fit(store, tmp_path / "long", "demo", overrides=wrong)


def test_a_run_from_before_contexts_goes_on_without(store, tmp_path):
    run, _ = fit_run(store, tmp_path / "run", "train.steps=4")
    file = run.path / "config.yaml"
    text = file.read_text()
    section = text[text.index("context:") : text.index("projector:")]
    file.write_text(text.replace(section, ""))
    dataset = open_dataset(store)
    again = type(run).open(run.path)
    assert again.config.context.seconds == 0
    assert fit(dataset, again, CPU, Console(quiet=True)) is None
    assert len(simtrain.retrieve(run.path, store, **QUICK).metrics)
