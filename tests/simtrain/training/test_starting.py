"""From what is asked for to a run folder, for both kinds of run."""

import pytest
from training_runs import TINY

from simdata.common.errors import UserError
from simtrain.config.composition import load
from simtrain.config.schema import Config, PretrainConfig
from simtrain.data.dataset import open_dataset
from simtrain.training.run_folder import FitRun
from simtrain.training.starting import start_run

WITHOUT_PROJECTOR = [setting for setting in TINY if not setting.startswith("projector")]


def test_what_is_left_open_comes_from_the_store(store, tmp_path):
    run = start_run(open_dataset(store), load("demo", TINY), tmp_path / "run")
    assert (run.config.data.lag, run.config.data.video, run.config.data.audio) == (6, "shapes", "tones")
    assert FitRun.open(tmp_path / "run").config == run.config


def test_a_pretraining_is_begun_and_opened_the_same_way(store, tmp_path):
    config = load("demo", WITHOUT_PROJECTOR, kind=PretrainConfig)
    run = start_run(open_dataset(store), config, str(tmp_path / "run"))
    assert isinstance(run.config, PretrainConfig)
    assert run.config.data.lag == 6
    assert start_run(open_dataset(store), config, tmp_path / "run").config == run.config
    with pytest.raises(UserError, match="is a run of `simtrain pretrain`"):
        start_run(open_dataset(store), load("demo", TINY), tmp_path / "run")


def test_initial_weights_are_kept_by_their_hash(store, trained, tmp_path):
    asked = trained.config.model.model_copy(update={"init": str(trained.path)})
    config = Config.model_validate(trained.config.model_copy(update={"model": asked}).model_dump())
    run = start_run(open_dataset(store), config, tmp_path / "run")
    assert run.config.model.init.startswith("sha256:")
    assert (tmp_path / "run" / "initial.pt").is_file()


def test_a_function_gives_the_configuration_of_the_folder(store, tmp_path):
    out = tmp_path / "run"
    start_run(open_dataset(store), load("demo", TINY), out)
    assert start_run(open_dataset(store), lambda: FitRun.open(out).config, out).config.train.steps == 12


def test_what_the_store_lacks_leaves_no_folder(store, tmp_path):
    with pytest.raises(UserError, match="no video embedding 'clip'"):
        start_run(open_dataset(store), load("demo", [*TINY, "data.video=clip"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()
