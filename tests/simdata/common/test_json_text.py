import json
import math

import numpy as np
import pytest

from simdata.common import json_text


def _strict(text):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_what_is_not_finite_is_null():
    content = {"a": [math.nan, (np.float64("inf"), {"b": -math.inf})], "c": 1.5, "d": None, "e": "NaN"}
    expected = {"a": [None, [None, {"b": None}]], "c": 1.5, "d": None, "e": "NaN"}
    assert _strict(json_text.dumps(content)) == expected


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.json"
    json_text.write(path, {"a": 1})
    with pytest.raises(TypeError):
        json_text.write(path, {"a": object()})
    assert _strict(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]
