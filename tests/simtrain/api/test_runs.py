"""simtrain.fit, pretrain, load_run and load_config, as a notebook calls them."""

import signal
import threading

import pytest
from examples import must_run
from training_runs import TINY, assert_equal, fit_run, lines_of, stopping_at

import simtrain
from simdata.common.errors import UserError
from simtrain.config.schema import PretrainConfig
from simtrain.training import checkpoint
from simtrain.training.run_folder import PretrainRun

SHORT = [*TINY, "train.steps=4", "train.validate_every=2"]
QUIET = {"device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def straight(store, tmp_path_factory):
    return fit_run(store, tmp_path_factory.mktemp("api") / "straight", *SHORT)[0]


@pytest.fixture(autouse=True)
def _usual_signals():
    """Whatever the tests were started by: background jobs ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _same(run, other):
    assert_equal(checkpoint.load(run.path / "checkpoint.pt"), checkpoint.load(other.path / "checkpoint.pt"))
    assert lines_of(run) == lines_of(other)


def test_examples(store, trained, tmp_path):
    must_run(simtrain.fit, store=store, out=tmp_path / "fit" / "example")
    must_run(simtrain.pretrain, store=store, out=tmp_path / "pretrain" / "example")
    must_run(simtrain.load_run, trained=trained)
    must_run(simtrain.load_config)


def test_a_run_is_that_of_the_parts_and_reports(store, straight, tmp_path):
    told = []
    run = simtrain.fit(
        str(store),
        str(tmp_path / "run"),
        "demo",
        overrides=SHORT,
        device="cpu",
        progress=lambda step, steps, scalars: told.append((step, steps, sorted(scalars))),
    )
    _same(run, straight)
    assert [(step, steps) for step, steps, _ in told] == [(1, 4), (2, 4), (2, 4), (3, 4), (4, 4), (4, 4)]
    metrics = simtrain.load_run(run.path).metrics
    assert metrics.step.tolist() == [1, 2, 3, 4]
    assert metrics["val/loss"].notna().tolist() == [False, True, False, True]
    assert set(metrics) == {"step", *(name for *_, names in told for name in names)}


def test_ctrl_c_saves_and_is_raised_and_the_same_call_goes_on(store, straight, tmp_path):
    arguments = (store, tmp_path / "run", "demo")
    with stopping_at(2), pytest.raises(KeyboardInterrupt):
        simtrain.fit(*arguments, overrides=SHORT, **QUIET)
    assert checkpoint.load(tmp_path / "run/checkpoint.pt")["step"] == 2
    _same(simtrain.fit(store, tmp_path / "run", **QUIET), straight)


def test_a_handler_that_returns_gets_the_unfinished_run(store, tmp_path):
    seen = []
    signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    with stopping_at(2):
        run = simtrain.fit(store, tmp_path / "run", "demo", overrides=SHORT, **QUIET)
    assert seen == [signal.SIGINT]
    assert run.metrics.step.tolist() == [1, 2]


def test_it_trains_in_another_thread(store, straight, tmp_path):
    made = []
    before = signal.getsignal(signal.SIGTERM)
    options = {"overrides": SHORT, **QUIET}
    thread = threading.Thread(
        target=lambda: made.append(simtrain.fit(store, tmp_path / "run", "demo", **options))
    )
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before
    _same(made[0], straight)


def test_a_configuration_in_any_form_is_the_same(tmp_path):
    named = simtrain.load_config("demo", overrides=["train.steps=7", "train.learning_rate=1e-5"])
    (tmp_path / "own.yaml").write_text(named.to_yaml())
    again = {"train.steps": 7, "train.learning_rate": 1e-5}
    assert simtrain.load_config("demo", overrides=again) == named
    assert simtrain.load_config(tmp_path / "own.yaml") == named
    assert simtrain.load_config(named) == named
    assert simtrain.load_config(named.model_dump(mode="json")) == named


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"feed": "tape"}, "feed: 'tape' is not one of auto"),
        ({"device": "tpu"}, "device: 'tpu' is not one of auto"),
        ({"config": PretrainConfig()}, "config: a PretrainConfig is given"),
        ({"config": {"train": {"stepz": 1}}}, "stepz"),
        ({"overrides": "train.steps=1"}, "overrides: 'train.steps=1' is one text"),
    ],
)
def test_what_is_wrong_is_named(store, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        simtrain.fit(store, tmp_path / "run", **{"progress": False, "device": "cpu", **arguments})
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_none_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a run folder"):
        simtrain.load_run(tmp_path)
    with pytest.raises(UserError, match="out: 's3://bucket/run' is a URL"):
        simtrain.fit(tmp_path, "s3://bucket/run", progress=False)


def test_a_pretraining_is_opened_as_one(store, tmp_path):
    small = {"model.ico": 1, "model.dim": 8, "model.depth": 1, "train.steps": 1, "train.batch_size": 8}
    small["train.validation_samples"] = 8
    simtrain.pretrain(store, tmp_path / "run", overrides=small, **QUIET)
    assert isinstance(simtrain.load_run(tmp_path / "run").config, PretrainConfig)
    assert PretrainRun.open(tmp_path / "run").checkpoint.exists()
