"""Signals at every moment of a training; real processes get them in test_fit and test_distributed."""

import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner
from training_runs import assert_equal, fit_run, lines_of

from simtrain.cli.root import cli
from simtrain.common import interrupts
from simtrain.retrieval import evaluation
from simtrain.training import checkpoint, starting
from simtrain.training import loop as fitting
from simtrain.training.scalars import Metrics
from simtrain.training.step import Training
from simtrain.training.validation import Validation

SHORT = ["train.steps=4", "train.validate_every=2", "train.checkpoint_every=3"]


@pytest.fixture(scope="module")
def straight(store, tmp_path_factory):
    return fit_run(store, tmp_path_factory.mktemp("interrupts") / "straight", *SHORT)[0]


@pytest.fixture(autouse=True)
def _as_from_a_terminal():
    """Whatever the tests were started by: nohup and background jobs ignore some signals."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _signalled(patch, place, name, numbers, at=1):
    """Send signals to this process while a function runs for the ``at``-th time."""
    function, calls = getattr(place, name), []

    def signalling(*args, **kwargs):
        calls.append(name)
        if len(calls) == at:
            for number in numbers:
                os.kill(os.getpid(), number)
        return function(*args, **kwargs)

    patch.setattr(place, name, signalling)


USUAL = (signal.SIGTERM, signal.SIGTERM)


@pytest.mark.parametrize(
    ("place", "name", "at", "numbers", "stop"),
    [
        (Training, "update", 2, USUAL, 2),
        (Training, "update", 3, (signal.SIGUSR1, signal.SIGTERM), 3),
        (Training, "update", 1, (signal.SIGHUP,), 1),
        (Training, "update", 1, (signal.SIGINT, signal.SIGINT, signal.SIGTERM), 1),  # as parents pass on
        (Validation, "__call__", 1, USUAL, 2),
        (checkpoint, "save", 1, USUAL, 2),  # of the best
        (checkpoint, "save", 2, USUAL, 4),  # of step 3: one more is done, and it is the last
        (Metrics, "write", 1, USUAL, 1),
        (Training, "update", 4, USUAL, 4),
        (Metrics, "__exit__", 1, USUAL, 4),
    ],
)
def test_it_stops_behind_the_step_and_goes_on_as_if_it_had_not(
    store, tmp_path, straight, monkeypatch, place, name, at, numbers, stop
):
    with monkeypatch.context() as patch:
        _signalled(patch, place, name, numbers, at)
        run, stopped = fit_run(store, tmp_path / "run", *SHORT)
    assert stopped == (None if stop == 4 else numbers[0])
    assert checkpoint.load(run.checkpoint)["step"] == stop
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    fit_run(store, tmp_path / "run", *SHORT)
    assert_equal(checkpoint.load(run.checkpoint), checkpoint.load(straight.checkpoint))
    assert lines_of(run) == lines_of(straight)
    assert not list(run.path.glob("*.tmp"))


@pytest.mark.parametrize("command", ["fit", "pretrain"])
def test_while_loading_there_is_nothing_to_save(store, tmp_path, monkeypatch, command):
    out = tmp_path / "run"
    arguments = [command, str(store), "--out", str(out), "--device", "cpu", "--config"]
    arguments += ["demo"] if command == "fit" else ["sim-tiny"]
    small = ("model.ico=1", "model.dim=8", "model.depth=1", "train.steps=1", "train.batch_size=8")
    for override in (*small, "train.validation_samples=8"):
        arguments += ["--set", override]
    with monkeypatch.context() as patch:
        _signalled(patch, fitting, "open_feed", USUAL)
        result = CliRunner().invoke(cli, arguments)
    assert (result.exit_code, type(result.exception)) == (143, SystemExit)
    assert f"go on with: simtrain {command} {store} --out {out}" in result.output
    assert not (out / "checkpoint.pt").exists()
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output


def test_a_run_that_was_not_begun_has_no_configuration_to_go_on_with(store, tmp_path, monkeypatch):
    """``simtrain fit STORE --out RUN`` alone would begin another one, by the default configuration."""
    _signalled(monkeypatch, starting, "resolve_on_all", USUAL)
    arguments = ["fit", str(store), "--out", str(tmp_path / "run"), "--config", "demo"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 143
    assert "give the same command again" in result.output
    assert "go on with" not in result.output
    assert not (tmp_path / "run").exists()


def test_only_a_second_ctrl_c_kills(store, tmp_path, monkeypatch):
    monkeypatch.setattr(interrupts, "ECHO", -1)
    _signalled(monkeypatch, Training, "update", (signal.SIGTERM, signal.SIGTERM), 1)
    assert fit_run(store, tmp_path / "run", *SHORT)[1] == signal.SIGTERM
    _signalled(monkeypatch, Training, "update", (signal.SIGINT, signal.SIGINT), 1)
    with pytest.raises(KeyboardInterrupt):
        fit_run(store, tmp_path / "run", *SHORT)
    assert checkpoint.load(tmp_path / "run/checkpoint.pt")["step"] == 1


def test_a_hang_up_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts.caught() as caught, interrupts.caught() as inner:
            assert inner is caught
            caught.hold()
            os.kill(os.getpid(), signal.SIGHUP)
            assert caught.signal is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_process_that_ends_with_its_work_is_not_killed_while_it_leaves():
    code = (
        "import os, signal\n"
        "from simtrain.common import interrupts\n"
        "interrupts.keep_to_the_end()\n"
        "with interrupts.caught() as caught:\n"
        "    caught.hold()\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "raise SystemExit(128 + caught.signal)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 143


def test_a_test_ends_by_ctrl_c_with_a_line(store, straight, monkeypatch):
    def interrupted(*_):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(evaluation, "retrieve", interrupted)
    result = CliRunner().invoke(cli, ["retrieve", str(straight.path), str(store)])
    assert (result.exit_code, result.output.strip()) == (130, "Interrupted")


def test_ctrl_c_while_packages_are_imported_is_silent():
    code = (
        "import os, signal, sys, builtins\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "before = builtins.__import__\n"
        "def importing(name, *rest, **more):\n"
        "    if name == 'torch': os.kill(os.getpid(), signal.SIGINT)\n"
        "    return before(name, *rest, **more)\n"
        "builtins.__import__ = importing\n"
        "from simtrain.__main__ import main\n"
        "sys.argv = ['simtrain', 'fit', '--help']\n"
        "main()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")
