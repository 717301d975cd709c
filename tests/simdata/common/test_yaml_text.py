import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from simdata.common.errors import UserError
from simdata.common.yaml_text import parse_yaml
from simtrain.config import composition

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
REFUSED = {
    "a: 1\nb: 2\na: 3": r"line 3: has the key a twice, first in line 1",
    "a: [1,\n {b: 1, b: 2}]": r"line 2: has the key b twice",
    BOMB: r"its aliases stand for more than 200,000 values",
    "&a [*a]": r"an alias stands for what it is a part of",
    "a: &a {b: *a}": r"an alias stands for what it is a part of",
    "a: !!python/object/apply:os.system [ls]": r"could not determine a constructor",
    "a: !mine 1": r"could not determine a constructor",
    "[" * 5_000: r"nested too deeply",
    "a: 010": r"line 1: 010 would be read as octal",
    "a: 2026-13-45": r"a value cannot be read \(ValueError: month",
    "a: !!bool maybe": r"a value cannot be read",
    "a: " + "9" * 5000: r"a value cannot be read",
    "? [a]\n: b": r"keys must be plain words",
    'a: "\\ud800"': r"half of a surrogate pair",
    "a: b: c": r"mapping values are not allowed",
    "--- a\n--- b": r"expected a single document",
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_what_yaml_may_do_and_settings_may_not_is_refused(text):
    with pytest.raises(UserError, match=f"mine is not valid YAML: .*{REFUSED[text]}"):
        parse_yaml(text, "mine")


def test_aliases_and_merges_of_plain_values_are_taken():
    text = "base: &base {x: 1, y: 2}\nmore: &more {<<: *base, x: 3}\nmost: {<<: *more, z: *base}"
    assert parse_yaml(text, "mine") == yaml.safe_load(text)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    max_leaves=15,
)


@given(plain)
def test_plain_values_are_read_as_yaml_reads_them(value):
    text = yaml.safe_dump(value)
    assert parse_yaml(text, "mine") == yaml.safe_load(text)


@pytest.mark.parametrize("text", [BOMB, "train: {steps: 1, steps: 2}", "train: {steps: 010}", "[" * 500])
def test_training_reads_its_settings_alike(tmp_path, text):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"mine\.yaml is not valid YAML"):
        composition.load(str(file))
    with pytest.raises(UserError, match=r"`overrides` train=[\s\S]*the value is not valid YAML"):
        composition.load("sim-tiny", [f"train={text}"])
    file.write_bytes(text.encode("utf-16"))
    with pytest.raises(UserError, match="is not UTF-8"):
        composition.load(str(file))
