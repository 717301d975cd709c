"""Two processes (gloo) must do what one does, given the same seed."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import join
from rich.console import Console
from torch import multiprocessing
from torch.nn.functional import normalize

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.common import distributed, processes
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.feeds import Memory, Scans
from simtrain.data.windows import SAMPLE
from simtrain.models.losses import contrastive
from simtrain.training import checkpoint
from simtrain.training.loop import fit
from simtrain.training.run_folder import FitRun

CPU = torch.device("cpu")
TINY = [
    *("model.ico=1", "model.dim=8", "model.depth=1", "model.dim_head=8", "projector.dim=8"),
    *("train.steps=5", "train.batch_size=8", "train.log_every=1", "train.checkpoint_every=100"),
    *("train.validate_every=5", "train.validation_samples=24", "train.warmup=0.2"),
]
WEIGHTS = {("fmri", "video"): 0.9, ("video", "audio"): 0.1}


BY_SAMPLE = [
    *("model.depth=2", "model.drop_path=0.3", "loss.modality_dropout=0.3", "projector.stimulus_dropout=0.2"),
    "train.balance=subjects",
]


def _lines(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def _numbers(lines):
    return [{k: v for k, v in line.items() if not k.startswith("feed/")} for line in lines]


def _assert_same_run(one, other, atol=1e-5):
    for line, expected in zip(_numbers(_lines(one)), _numbers(_lines(other)), strict=True):
        assert line == pytest.approx(expected, rel=1e-4)
    one, other = (checkpoint.load(out / "checkpoint.pt")["learner"] for out in (one, other))
    for name, values in other.items():
        torch.testing.assert_close(one[name], values, rtol=1e-3, atol=atol, msg=name)


def _fit(store, out, *overrides, feed="stream"):
    dataset = open_dataset(store)
    config = resolve(load("demo", [*TINY, *overrides]), dataset)
    run = distributed.first_before_others(lambda: FitRun.start(out, config, dataset))
    fit(dataset, run, CPU, Console(quiet=True), feed)


def test_two_processes_train_as_one(store, tmp_path):
    """Curves, validation and weights, with the share of a process whole or in two parts, and with a queue.

    And with what is left out by chance, which is drawn by sample, and balanced samples.

    The two have the runs in memory that they share, or on the device; the one reads them from the store.
    """
    _fit(store, tmp_path / "alone")
    _fit(store, tmp_path / "queue-alone", "loss.queue=12", *BY_SAMPLE)
    multiprocessing.spawn(_train, args=(tmp_path, store), nprocs=2)
    _assert_same_run(tmp_path / "whole", tmp_path / "alone")
    _assert_same_run(tmp_path / "in-parts", tmp_path / "alone")
    # Adam makes a step of the rounding of a gradient near 0; other draws would move all weights by 1e-2.
    _assert_same_run(tmp_path / "queue", tmp_path / "queue-alone", atol=1e-3)


def _train(rank, folder, store):
    join(rank, folder)
    _fit(store, folder / "whole", feed="memory")
    _fit(store, folder / "in-parts", "train.accumulate=2", feed="device")
    _fit(store, folder / "queue", "loss.queue=12", "train.accumulate=2", *BY_SAMPLE)
    torch.distributed.destroy_process_group()


def test_two_processes_read_runs_once_and_hold_one_copy(store, tmp_path):
    multiprocessing.spawn(_share_runs, args=(tmp_path, store), nprocs=2)


def _share_runs(rank, folder, store):
    join(rank, folder)
    samples = np.zeros(5, SAMPLE)
    samples["subject"] = [0, 1, 3, 4, 5]
    reader = _Counting(store)
    runs = Scans(samples, open_dataset(store), reader)
    feed = Memory(runs, 3, CPU)
    assert sorted(distributed.gather_objects(reader.subjects)) == [0, 1, 3, 4, 5]
    with feed.batches([(samples, None)], 5) as batches:
        stored = next(iter(batches)).stored.numpy()
    index = np.stack([samples[axis] for axis in ("subject", "movie", "second", "hemisphere")], axis=1)
    np.testing.assert_array_equal(stored, BoldReader(store).read(index, 3))
    distributed.gather_objects([None])
    feed.rows[64 * rank, 0] = 77  # what one writes, the other sees
    distributed.gather_objects([None])
    assert feed.rows[64 * (1 - rank), 0] == 77
    with pytest.raises(UserError if rank == 0 else SystemExit):
        distributed.must_suit_all("too little memory" if rank == 1 else None)
    distributed.must_suit_all(None)
    torch.distributed.destroy_process_group()


class _Counting(BoldReader):
    """Knows which subjects' runs it has read."""

    def __init__(self, store):
        super().__init__(store)
        self.subjects = []

    def read(self, index, *args, **kwargs):
        self.subjects += index[:, 0].tolist()
        return super().read(index, *args, **kwargs)


def test_a_signal_stops_both_at_one_step(store, tmp_path):
    """One process gets it: all leave in order. Everyone gets it, as from a batch system: so does torchrun."""
    out = tmp_path / "run"
    process = _torchrun(store, out)
    _signal(_children(process)[1:])
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    step = _assert_stopped(out, said)
    process = _torchrun(store, out)
    os.kill(process.pid, signal.SIGTERM)  # once: torchrun may wait for itself for ever behind a second one
    _signal(_children(process))
    said, errors = process.communicate(timeout=60)
    assert "SignalException" in errors
    assert "ChildFailedError" not in errors
    assert _assert_stopped(out, said) > step


def _torchrun(store, out):
    """A training by two processes, at its first line of metrics."""
    settings = [part for text in [*TINY, "train.steps=100000"] for part in ("--set", text)]
    command = [
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "simtrain",
        "fit",
        str(store),
    ]
    command = [sys.executable, "-m", *command, "--out", str(out), "--config", "demo", *settings]
    metrics = out / "metrics.jsonl"
    before = metrics.stat().st_size if metrics.exists() else 0
    quiet = os.environ | {"OMP_NUM_THREADS": "1"}  # without it torchrun says that it sets it
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet)
    while not (metrics.exists() and metrics.stat().st_size > before):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    return process


def _children(process):
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def _signal(pids):
    for _ in range(2):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        time.sleep(0.05)


def _assert_stopped(out, said):
    step = _lines(out)[-1]["step"]
    assert f"stopped at step {step} of 100000" in said
    assert "go on with: torchrun --nproc-per-node=2 -m simtrain fit" in said
    assert checkpoint.load(out / "checkpoint.pt")["step"] == step
    return step


def test_gradients_of_gathered_embeddings_are_those_of_the_whole_batch(tmp_path):
    """With a float64 network, a false negative across the processes, and each kind of loss."""
    multiprocessing.spawn(_compare_gradients, args=(tmp_path,), nprocs=2)


def _compare_gradients(rank, folder):
    join(rank, folder)
    torch.manual_seed(0)
    x = {name: torch.randn(6, 4, dtype=torch.float64) for name in ("fmri", "video", "audio")}
    ignore = torch.zeros(6, 6, dtype=bool)
    ignore[1, 4] = ignore[4, 1] = True
    for kind in ("infonce", "infonce_fixed", "siglip", "published"):
        network = torch.nn.ModuleDict({name: torch.nn.Linear(4, 3).double() for name in x})
        loss = contrastive(kind, WEIGHTS, 0.2).double()
        both = torch.nn.ModuleList([network, loss])
        whole, _ = loss({name: normalize(network[name](x[name]), dim=1) for name in x}, ignore)
        expected = torch.autograd.grad(whole, list(both.parameters()))
        own = {
            name: normalize(network[name](torch.from_numpy(distributed.share(x[name].numpy()))), dim=1)
            for name in x
        }
        value, _ = loss(distributed.gather(own), ignore)
        value.backward()
        distributed.average_gradients(both.parameters())
        torch.testing.assert_close(value, whole)
        for parameter, gradient in zip(both.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)
    samples = np.array([(1, 2), (3, 4), (5, 6), (7, 8)], dtype=[("movie", "i4"), ("second", "i2")])
    assert np.array_equal(distributed.gather_samples(distributed.share(samples)), samples)
    assert distributed.gather_objects([rank, "x"]) == [0, "x", 1, "x"]
    assert distributed.agree(None) is None
    assert distributed.agree(signal.SIGTERM if rank == 1 else None) == signal.SIGTERM
    weights = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(weights.weight, rank)
    distributed.same_weights(weights)
    assert weights.weight.item() == 0
    with pytest.raises(UserError, match=r"train\.batch_size: 7 samples do not divide among 2"):
        distributed.must_divide(7)
    with pytest.raises(ValueError if rank == 0 else SystemExit):
        distributed.first_before_others(_fails)
    torch.distributed.destroy_process_group()


def _fails():
    raise ValueError


def test_one_process_does_nothing_of_the_sort():
    embeddings = {"fmri": torch.ones(2, 2)}
    assert distributed.gather(embeddings)["fmri"] is embeddings["fmri"]
    assert (distributed.size(), distributed.rank(), distributed.agree(15)) == (1, 0, 15)
    distributed.must_divide(7)
    with processes.joined():
        assert distributed.first_before_others(lambda: 3) == 3
