import pytest
import yaml

from simtrain.config.composition import load, parse
from simtrain.config.schema import Config, PretrainConfig, changes


def test_defaults_are_the_published_tiny_model_and_stay_so():
    config = Config()
    assert (config.model.patch_embedding, config.model.positions) == ("linear", "sincos")
    assert (config.model.dim, config.model.depth, config.model.heads, config.model.ico) == (192, 12, 3, 3)
    assert config.pair_weights == {("fmri", "video"): 0.8, ("fmri", "audio"): 0.1, ("video", "audio"): 0.1}


def test_the_written_file_reads_back_equal():
    config = load("demo", ["data.lag=4", "loss.temperature=0.05"])
    assert parse(yaml.safe_load(config.to_yaml()), "again", Config) == config


def test_changes_are_keys_with_both_values():
    assert changes(load("sim-tiny"), load("sim-base")) == {"model.dim": (192, 768), "model.heads": (3, 12)}


@pytest.mark.parametrize("kind", [Config, PretrainConfig])
@pytest.mark.parametrize("preset", ["sim-tiny", "sim-small", "sim-base", "demo"])
def test_an_encoder_is_pretrained_with_the_embedding_that_it_is_trained_with(kind, preset):
    assert load(preset, kind=kind).model.patch_embedding == "pca"


def test_changes_have_keys_that_only_one_has():
    own = load("sim-tiny", ["loss.weights.fmri_video_a=0.2"], "fmri,video_a")
    assert changes(Config(), own)["loss.weights.fmri_video_a"] == (None, 0.2)
    assert changes(own, Config())["loss.weights.fmri_video_a"] == (0.2, None)


def test_off_is_a_word_although_yaml_reads_it_as_false():
    assert load("demo", ["train.amp=off"]).train.amp == "off"
