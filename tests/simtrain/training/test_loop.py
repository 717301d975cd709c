import json
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext

import pytest
import torch
from training_runs import TINY, assert_equal, fit_run, lines_of, start_run, stopping_at

from simdata.common.errors import UserError
from simtrain.data.dataset import open_dataset
from simtrain.training import checkpoint
from simtrain.training.run_folder import FitRun
from simtrain.training.step import Training, mixed_precision
from simtrain.training.trained_model import load_learner

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def straight(store, tmp_path_factory):
    run, stopped = fit_run(store, tmp_path_factory.mktemp("fit") / "straight")
    assert stopped is None
    return run


def test_the_run_folder_holds_what_is_needed_to_repeat_it(straight, store):
    assert {entry.name for entry in straight.path.iterdir()} == {
        *("config.yaml", "store.json", "splits.yaml", "features.npz", "software.json", "metrics.jsonl"),
        *("checkpoint.pt", "best.pt", "tensorboard"),
    }
    assert FitRun.open(straight.path).config == straight.config
    assert straight.config.data.lag == 6
    assert straight.stores[0].record["catalog_sha256"] == "0" * 64
    assert straight.stores[0].record["subjects"]["s5"] == "test"
    assert (
        json.loads((straight.path / "software.json").read_text())["torch"] == torch.__version__.split("+")[0]
    )


def test_every_step_and_validation_is_recorded(straight):
    lines = lines_of(straight)
    assert [line["step"] for line in lines if "train/loss" in line] == list(range(1, 13))
    assert [line["step"] for line in lines if "val/loss" in line] == [4, 8, 12]
    raw = json.loads((straight.path / "metrics.jsonl").read_text().splitlines()[0])
    assert 0 <= raw["feed/waiting"] <= 1
    assert raw["feed/samples_per_second"] > 0


@pytest.mark.parametrize("stop", [3, 7])
def test_an_interrupted_run_goes_on_bit_for_bit(store, tmp_path, straight, stop):
    with stopping_at(stop):
        run, stopped = fit_run(store, tmp_path / "run")
    assert stopped == signal.SIGINT
    assert checkpoint.load(run.checkpoint)["step"] == stop
    run, stopped = fit_run(store, tmp_path / "run")
    assert stopped is None
    assert_equal(checkpoint.load(run.checkpoint), checkpoint.load(straight.checkpoint))
    assert lines_of(run) == lines_of(straight)


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
            fit_run(store, tmp_path / "run")
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write('{"step": 1')
    run, _ = fit_run(store, tmp_path / "run")
    assert_equal(checkpoint.load(run.checkpoint), checkpoint.load(straight.checkpoint))
    assert lines_of(run) == lines_of(straight)


def test_a_finished_run_is_left_as_it_is(store, straight):
    before = straight.checkpoint.read_bytes(), (straight.path / "metrics.jsonl").read_bytes()
    fit_run(store, straight.path)
    assert before == (straight.checkpoint.read_bytes(), (straight.path / "metrics.jsonl").read_bytes())


def test_another_configuration_is_refused(store, straight):
    with pytest.raises(UserError, match=r"train\.seed: 0 != 1"):
        start_run(store, straight.path, "train.seed=1")


@pytest.mark.parametrize(("text", "fault"), [("", "holds no"), ("a: [", "not valid YAML"), ("3", "holds no")])
def test_a_damaged_configuration_is_named(tmp_path, text, fault):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=rf"config\.yaml.*{fault}"):
        FitRun.open(tmp_path)


@pytest.mark.parametrize(("file", "fault"), [("checkpoint.pt", "damaged"), ("store.json", "damaged")])
def test_a_file_that_was_cut_short_is_named(store, straight, tmp_path, file, fault):
    run = shutil.copytree(straight.path, tmp_path / "run")
    content = (run / file).read_bytes()
    (run / file).write_bytes(content[: len(content) // 2])
    for use in (
        lambda: fit_run(store, run),
        lambda: load_learner(FitRun.open(run, "last"), open_dataset(store), CPU),
    ):
        with pytest.raises(UserError, match=f"{file} is .*{fault}"):
            use()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", "\0"])
@pytest.mark.parametrize(
    "file", ["store.json", "splits.yaml", "software.json", "history.json", "initial.json"]
)
def test_a_damaged_record_is_named(store, straight, tmp_path, file, text):
    run = shutil.copytree(straight.path, tmp_path / "run")
    (run / file).write_text(text)
    harmless = (file, text) in {("software.json", "{}"), ("history.json", "[]")}
    with nullcontext() if harmless else pytest.raises(UserError, match=f"{file} is missing or damaged"):
        fit_run(store, run, "train.log_every=7")
        assert FitRun.open(run).seen_subjects


def test_a_folder_with_other_files_is_refused(store, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="not a run folder"):
        start_run(store, tmp_path)


def test_two_modalities_train_without_the_third(store, tmp_path):
    run, _ = fit_run(store, tmp_path / "run", "train.steps=2", modalities="fmri,audio")
    assert [key for key in lines_of(run)[0] if "-" in key] == ["train/fmri-audio"]
    assert not any("video" in key for key in checkpoint.load(run.checkpoint)["learner"])


def test_bf16_on_the_cpu_trains_close_to_float32(store, tmp_path, straight):
    run, _ = fit_run(store, tmp_path / "run", "train.amp=bf16", "train.steps=2")
    assert lines_of(run)[0]["train/loss"] == pytest.approx(lines_of(straight)[0]["train/loss"], rel=0.02)
    assert lines_of(run)[0]["train/loss"] != lines_of(straight)[0]["train/loss"]


def test_fp16_needs_a_gpu():
    assert mixed_precision("auto", CPU) is None
    with pytest.raises(UserError, match="fp16 needs a CUDA device"):
        mixed_precision("fp16", CPU)


def test_too_few_samples_for_a_batch_are_named(store, tmp_path):
    with pytest.raises(UserError, match=r"376 training samples.*train\.batch_size: 1000"):
        fit_run(store, tmp_path / "run", "train.batch_size=1000")


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
    assert checkpoint.load(out / "checkpoint.pt")["step"] == lines_of(FitRun.open(out))[-1]["step"]
