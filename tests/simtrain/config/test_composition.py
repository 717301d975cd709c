import itertools

import pytest
import yaml

from simdata.common.errors import UserError
from simtrain.config import composition
from simtrain.config.composition import load
from simtrain.config.schema import Config, changes


def test_every_preset_is_valid_and_differs_only_where_it_says():
    for name, text in composition.presets().items():
        stated = yaml.safe_load(text)
        sections = {line.split(":")[0].split(".")[0] for line in changes(Config(), load(name))}
        assert sections <= set(stated)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: {batchsize: 3}", ["train.batchsize", "unknown key"]),
        ("model: {depth: twelve}", ["model.depth", "integer"]),
        ("model: {ico: 6}", ["model.ico", "less than or equal to 5"]),
        ("data: {frames: true}", ["data.frames"]),
        ("modalities: [video, audio]", ["must contain fmri"]),
        ("modalities: [fmri, smell]", ["modalities[1]"]),
        ("modalities: [fmri, fmri]", ["one twice"]),
        ("modalities: [fmri, audio]\nloss: {weights: {fmri_audio: 0}}", ["all 0"]),
        ("loss: {weights: {fmri_smell: 1}}", ["fmri_smell", "fmri_audio, fmri_video, video_audio"]),
        ("modalities: [fmri, video_a]\nloss: {weights: {fmri_video_b: 1}}", ["fmri_video_b", "fmri_video_a"]),
        ("loss: {weights: {fmri_video: -1}}", ["loss.weights.fmri_video"]),
        ("modalities: [fmri, video_a]\nloss: {weights: {fmri_video_a: x}}", ["loss.weights.fmri_video_a"]),
        ("- a list", ["(top level)"]),
        ("a: [", ["not valid YAML"]),
    ],
)
def test_a_fault_names_the_file_and_the_key(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load(str(path))
    assert all(word in str(error.value) for word in [str(path), *words])


def test_an_unknown_name_lists_the_presets():
    with pytest.raises(UserError, match="published, sim-base, sim-small, sim-tiny"):
        load("sim-huge")


def test_overrides_go_on_top_of_a_partial_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("train: {steps: 5, learning_rate: 3e-4}")
    config = load(str(path), ["train.steps=7", "loss.weights.fmri_video=1", "model.pool=cls"], "fmri,video")
    assert (config.train.steps, config.train.learning_rate) == (7, 3e-4)
    assert (config.model.pool, config.modalities) == ("cls", ("fmri", "video"))
    assert config.loss.weights.fmri_video == 1
    assert config.loss.weights.fmri_audio == 0.1


@pytest.mark.parametrize(
    "override", ["train.steps", "=3", "train..steps=3", "train.steps=[", "train=3", "train.steps.more=3"]
)
def test_a_bad_override_is_named(override):
    with pytest.raises(UserError, match="`overrides` "):
        load("sim-tiny", [override])


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_overrides_that_only_fit_together_may_come_in_any_order(order):
    together = ["model.frame_positions=sequence", "model.temporal=concat", "model.positions=sincos"]
    config = load("sim-tiny", [together[place] for place in order])
    assert (config.model.frame_positions, config.model.positions) == ("sequence", "sincos")


def test_the_override_without_which_the_others_fit_is_blamed():
    with pytest.raises(UserError, match=r"with `overrides` train\.steps=-3 is not a valid"):
        load("demo", ["model.temporal=concat", "train.steps=-3", "train.seed=1"])
    with pytest.raises(UserError, match=r"train\.steps=-3 and `overrides` train\.warmup=7 is"):
        load("demo", ["train.steps=-3", "train.warmup=7"])
