from collections.abc import Iterator

import pytest
import yaml
from pydantic import BaseModel

from simtrain.config.composition import load, parse
from simtrain.config.schema import Config, PretrainConfig, Recipe, changes


def _keys(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str | None]]:
    """Each key with its meaning."""
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _keys(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, field.description


@pytest.mark.parametrize("kind", [Config, PretrainConfig])
def test_every_key_has_its_meaning(kind: type[Recipe]):
    meanings = dict(_keys(kind))
    assert "train.learning_rate" in meanings
    assert not [key for key, meaning in meanings.items() if not meaning]


def test_defaults_are_the_published_tiny_model():
    config = load("sim-tiny")
    assert config == Config()
    assert (config.model.dim, config.model.depth, config.model.heads, config.model.ico) == (192, 12, 3, 3)
    assert config.pair_weights == {("fmri", "video"): 0.8, ("fmri", "audio"): 0.1, ("video", "audio"): 0.1}


def test_the_written_file_reads_back_equal():
    config = load("demo", ["data.lag=4", "loss.temperature=0.05"])
    assert parse(yaml.safe_load(config.to_yaml()), "again", Config) == config


def test_changes_are_keys_with_both_values():
    assert changes(Config(), load("sim-base")) == {"model.dim": (192, 768), "model.heads": (3, 12)}


def test_changes_have_keys_that_only_one_has():
    own = load("sim-tiny", ["loss.weights.fmri_video_a=0.2"], "fmri,video_a")
    assert changes(Config(), own)["loss.weights.fmri_video_a"] == (None, 0.2)
    assert changes(own, Config())["loss.weights.fmri_video_a"] == (0.2, None)


def test_off_is_a_word_although_yaml_reads_it_as_false():
    assert load("demo", ["train.amp=off"]).train.amp == "off"
