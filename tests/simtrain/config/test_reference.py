import pytest
import yaml

from simdata.common.errors import UserError
from simdata.common.nested import leaves
from simtrain.config.composition import load
from simtrain.config.reference import groups, keys, written
from simtrain.config.schema import Config, PretrainConfig


@pytest.mark.parametrize("kind", [Config, PretrainConfig])
def test_the_keys_are_those_of_the_schema_with_their_defaults(kind):
    found = {name: key.default for name, key in keys(kind).items() if not name.endswith(".*")}
    defaults = leaves(kind().model_dump(mode="json"))
    assert {name: yaml.safe_load(default) for name, default in found.items()} == defaults


@pytest.mark.parametrize("kind", [Config, PretrainConfig])
def test_every_key_and_group_says_what_it_means(kind):
    for group in groups(kind):
        assert group.meaning
        assert all(key.meaning.endswith(".") and key.allowed for key in group.keys)


@pytest.mark.parametrize(
    ("key", "allowed"),
    [
        ("train.steps", "integer > 0"),
        ("data.frames", "integer >= 1, <= 100"),
        ("model.dim", "integer > 0, a multiple of 2"),
        ("train.learning_rate", "number > 0, <= 1e+30"),
        ("train.ema", "number >= 0, < 1 or null"),
        ("model.freeze", "none, all or integer > 0"),
        ("model.final_norms", "1, 2"),
        ("train.amp", "auto, off, bf16, fp16"),
        ("train.compile", "true, false"),
        ("model.init", "text or null"),
        ("loss.kind", "infonce, infonce_fixed, published, siglip or my_module:MyClass"),
        ("modalities", "2 or more of fmri|video|audio|text|[a-z][a-z0-9]*_[A-Za-z0-9_-]+"),
        ("loss.weights.*", "number >= 0"),
    ],
)
def test_a_range_is_told_as_the_schema_has_it(key, allowed):
    assert keys(Config)[key].allowed == allowed


def _beyond(allowed: str) -> list[str]:
    """Values just outside of what bounds say."""
    bounds = [bound.split() for bound in allowed.removesuffix(" or null").split(maxsplit=1)[1].split(", ")]
    step = 1 if allowed.startswith("integer") else 1e-3
    off = {">=": -step, ">": 0, "<=": step, "<": 0}
    return [
        str(float(value) * (1 + 1e-3) if float(value) > 1e3 else float(value) + off[sign])
        for sign, value in bounds
    ]


def test_what_is_beyond_a_told_range_is_refused():
    checked = 0
    for name, key in keys(Config).items():
        if key.allowed.startswith("number") and not name.endswith("*"):
            for value in _beyond(key.allowed):
                with pytest.raises(UserError, match=name):
                    load("sim-tiny", [f"{name}={value}"])
                checked += 1
    assert checked > 15


@pytest.mark.parametrize("value", [None, True, 3, 0.0003, "off", "mean", ["fmri", "video"], "a" * 200])
def test_a_written_value_reads_back_from_one_line(value):
    assert "\n" not in written(value)
    assert yaml.safe_load(written(value)) == value
