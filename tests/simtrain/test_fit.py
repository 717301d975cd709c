import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import torch
from rich.console import Console

from simdata.errors import UserError
from simtrain import checkpoint
from simtrain import fit as fitting
from simtrain.config import load
from simtrain.dataset import open_dataset, resolve
from simtrain.embedding import load_learner
from simtrain.run import Run
from simtrain.training import Training, mixed_precision

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


def _start(store, out, *overrides, modalities=None):
    dataset = open_dataset(store)
    return dataset, Run.start(out, resolve(load("demo", [*TINY, *overrides], modalities), dataset), dataset)


def _fit(store, out, *overrides, **options):
    dataset, run = _start(store, out, *overrides, **options)
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

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "update", interrupted)
        yield


def _lines(run):
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith("feed/")} for line in lines]


def _assert_equal(one, other):
    """Bit for bit, through nested dicts and lists of tensors and numbers."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            _assert_equal(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            _assert_equal(*pair)
    else:
        assert one == other


@pytest.fixture(scope="module")
def straight(store, tmp_path_factory):
    run, stopped = _fit(store, tmp_path_factory.mktemp("fit") / "straight")
    assert stopped is None
    return run


def test_the_run_folder_holds_what_is_needed_to_repeat_it(straight, store):
    assert {entry.name for entry in straight.path.iterdir()} == {
        *("config.yaml", "store.json", "features.npz", "software.json", "metrics.jsonl", "checkpoint.pt"),
        "tensorboard",
    }
    assert Run.open(straight.path).config == straight.config
    assert straight.config.data.lag == 6
    assert straight.store["catalog_sha256"] == "0" * 64
    assert straight.store["subjects"]["s5"] == "test"
    assert (
        json.loads((straight.path / "software.json").read_text())["torch"] == torch.__version__.split("+")[0]
    )


def test_every_step_and_validation_is_recorded(straight):
    lines = _lines(straight)
    assert [line["step"] for line in lines if "train/loss" in line] == list(range(1, 13))
    assert [line["step"] for line in lines if "val/loss" in line] == [4, 8, 12]
    raw = json.loads((straight.path / "metrics.jsonl").read_text().splitlines()[0])
    assert 0 <= raw["feed/waiting"] <= 1
    assert raw["feed/samples_per_second"] > 0


@pytest.mark.parametrize("stop", [3, 7])
def test_an_interrupted_run_goes_on_bit_for_bit(store, tmp_path, straight, stop):
    with stopping_at(stop):
        run, stopped = _fit(store, tmp_path / "run")
    assert stopped == signal.SIGINT
    assert checkpoint.load(run.checkpoint)["step"] == stop
    run, stopped = _fit(store, tmp_path / "run")
    assert stopped is None
    _assert_equal(checkpoint.load(run.checkpoint), checkpoint.load(straight.checkpoint))
    assert _lines(run) == _lines(straight)


def test_a_run_that_crashed_behind_its_checkpoint_drops_what_it_will_write_again(
    store, tmp_path, straight, monkeypatch
):
    update = Training.update

    def crashing(self, batch):
        if self.step == 9:
            raise MemoryError
        return update(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "update", crashing)
        with pytest.raises(MemoryError):
            _fit(store, tmp_path / "run")
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write('{"step": 1')
    run, _ = _fit(store, tmp_path / "run")
    _assert_equal(checkpoint.load(run.checkpoint), checkpoint.load(straight.checkpoint))
    assert _lines(run) == _lines(straight)


def test_a_finished_run_is_left_as_it_is(store, straight):
    before = straight.checkpoint.read_bytes(), (straight.path / "metrics.jsonl").read_bytes()
    _fit(store, straight.path)
    assert before == (straight.checkpoint.read_bytes(), (straight.path / "metrics.jsonl").read_bytes())


def test_another_configuration_is_refused(store, straight):
    with pytest.raises(UserError, match=r"train\.seed: 0 != 1"):
        _start(store, straight.path, "train.seed=1")


@pytest.mark.parametrize(("text", "fault"), [("", "holds no"), ("a: [", "not valid YAML"), ("3", "holds no")])
def test_a_damaged_configuration_is_named(tmp_path, text, fault):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=rf"config\.yaml.*{fault}"):
        Run.open(tmp_path)


@pytest.mark.parametrize(("file", "fault"), [("checkpoint.pt", "damaged"), ("store.json", "damaged")])
def test_a_file_that_was_cut_short_is_named(store, straight, tmp_path, file, fault):
    run = shutil.copytree(straight.path, tmp_path / "run")
    content = (run / file).read_bytes()
    (run / file).write_bytes(content[: len(content) // 2])
    for use in (lambda: _fit(store, run), lambda: load_learner(Run.open(run), open_dataset(store), CPU)):
        with pytest.raises(UserError, match=f"{file} is .*{fault}"):
            use()


def test_a_folder_with_other_files_is_refused(store, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="not a run folder"):
        _start(store, tmp_path)


def test_two_modalities_train_without_the_third(store, tmp_path):
    run, _ = _fit(store, tmp_path / "run", "train.steps=2", modalities="fmri,audio")
    assert [key for key in _lines(run)[0] if "-" in key] == ["train/fmri-audio"]
    assert not any("video" in key for key in checkpoint.load(run.checkpoint)["learner"])


def test_bf16_on_the_cpu_trains_close_to_float32(store, tmp_path, straight):
    run, _ = _fit(store, tmp_path / "run", "train.amp=bf16", "train.steps=2")
    assert _lines(run)[0]["train/loss"] == pytest.approx(_lines(straight)[0]["train/loss"], rel=0.02)
    assert _lines(run)[0]["train/loss"] != _lines(straight)[0]["train/loss"]


def test_fp16_needs_a_gpu():
    assert mixed_precision("auto", CPU) is None
    with pytest.raises(UserError, match="fp16 needs a CUDA device"):
        mixed_precision("fp16", CPU)


def test_too_few_samples_for_a_batch_are_named(store, tmp_path):
    with pytest.raises(UserError, match=r"376 training samples.*train\.batch_size: 1000"):
        _fit(store, tmp_path / "run", "train.batch_size=1000")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_says_how_to_go_on(store, tmp_path, number, status):
    out = tmp_path / "run"
    overrides = [part for text in [*TINY, "train.steps=100000"] for part in ("--set", text)]
    command = [
        sys.executable,
        "-m",
        "simtrain",
        "fit",
        str(store),
        "--out",
        str(out),
        "--config",
        "demo",
        *overrides,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    metrics = out / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size):
        assert process.poll() is None
        time.sleep(0.05)
    for _ in range(2):  # the second is the first again, as it comes from a batch system
        process.send_signal(number)
        time.sleep(0.05)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == status
    assert f"go on with: simtrain fit {store} --out {out}" in said
    assert checkpoint.load(out / "checkpoint.pt")["step"] == _lines(Run.open(out))[-1]["step"]
