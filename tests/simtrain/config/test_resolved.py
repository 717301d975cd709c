import pytest

from simdata.common.errors import UserError
from simtrain.config.composition import load, parse
from simtrain.config.resolved import ResolvedConfig, ResolvedPretrainConfig
from simtrain.config.schema import Config, PretrainConfig, changes
from simtrain.data.dataset import open_dataset, resolve
from simtrain.training.starting import start_run

WEIGHTED = ["loss.weights.fmri_video_shapes=0.3", "model.dim=96", "data.lag_jitter=1"]
FILLED_IN = ["data.lag=6", "data.audio=tones"]


def test_as_yaml_it_is_the_configuration_with_its_gaps_filled_in(store):
    dataset = open_dataset(store)
    for names, filled_in in (("fmri,video_shapes,audio", FILLED_IN), ("fmri,video_shapes", FILLED_IN[:1])):
        found = resolve(load("demo", WEIGHTED, names), dataset)
        assert type(found) is ResolvedConfig
        assert found.to_yaml() == load("demo", [*WEIGHTED, *filled_in], names).to_yaml()
        assert parse(found.model_dump(mode="json"), "it", Config).to_yaml() == found.to_yaml()
    found = resolve(load("demo", kind=PretrainConfig), dataset)
    assert type(found) is ResolvedPretrainConfig
    assert found.to_yaml() == load("demo", ["data.lag=6"], kind=PretrainConfig).to_yaml()


def test_once_resolved_it_stays_as_it_is(store):
    dataset = open_dataset(store)
    for asked in (load("demo", ["data.lag=4"]), load("demo", ["data.lag=4"], kind=PretrainConfig)):
        found = resolve(asked, dataset)
        assert resolve(found, dataset) == found
        assert set(changes(asked, found)) <= {"data.video", "data.audio"}


@pytest.mark.parametrize("asked", [load("demo"), load("demo", kind=PretrainConfig)])
def test_a_run_folder_whose_lag_was_taken_out_is_refused(store, tmp_path, asked):
    run = start_run(open_dataset(store), asked, tmp_path / "run")
    file = run.path / "config.yaml"
    file.write_text(file.read_text().replace("lag: 6", "lag: null"))
    with pytest.raises(UserError, match=r"config\.yaml is not a valid configuration(.|\n)*data\.lag"):
        type(run).open(run.path)
