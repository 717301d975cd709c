"""Training runs of a few steps, and whether two ended the same."""

import json
import os
import signal
from contextlib import contextmanager

import pytest
import torch
from rich.console import Console

from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.training import loop as fitting
from simtrain.training.run_folder import FitRun
from simtrain.training.step import Training

CPU = torch.device("cpu")
TINY = [
    *(
        "model.ico=1",
        "model.dim=8",
        "model.depth=1",
        "model.dim_head=8",
        "model.dropout=0.1",
        "projector.dim=8",
    ),
    *("train.steps=12", "train.batch_size=8", "train.log_every=1", "train.checkpoint_every=5"),
    *("train.validate_every=4", "train.validation_samples=24"),
]


def start_run(store, out, *overrides, modalities=None):
    dataset = open_dataset(store)
    return dataset, FitRun.start(
        out, resolve(load("demo", [*TINY, *overrides], modalities), dataset), dataset
    )


def fit_run(store, out, *overrides, **options):
    dataset, run = start_run(store, out, *overrides, **options)
    stopped = fitting.fit(dataset, run, CPU, Console(quiet=True))
    return run, stopped


@contextmanager
def stopping_at(step):
    """Within it, trainings are interrupted behind a step."""
    update = Training.update

    def interrupted(self, batch):
        if self.step == step - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self, batch)

    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:  # as in what a shell starts in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Training, "update", interrupted)
            yield
    finally:
        signal.signal(signal.SIGINT, before)


def lines_of(run):
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith("feed/")} for line in lines]


def assert_equal(one, other):
    """Bit for bit, through nested dicts and lists of tensors and numbers."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_equal(*pair)
    else:
        assert one == other
