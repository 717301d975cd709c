import json
import math

from simtrain.training.scalars import Metrics


def _strict(text):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def test_every_line_is_json_that_others_read(tmp_path):
    with Metrics(tmp_path, 0) as metrics:
        metrics.write(1, {"val/loss": math.nan, "train/loss": math.inf, "train/temperature": 0.5})
    lines = _strict((tmp_path / "metrics.jsonl").read_text())
    assert lines == [{"step": 1, "val/loss": None, "train/loss": None, "train/temperature": 0.5}]


def test_what_a_kill_left_is_neither_lost_nor_doubled(tmp_path):
    """A cut line, zeros of a power cut, an old line with a bare NaN, and steps behind the checkpoint."""
    path = tmp_path / "metrics.jsonl"
    whole = ['{"step": 1, "a": NaN}', '{"step": 2}', '{"step": 2, "val": 1}', '{"step"', "\0\0", "3"]
    path.write_text("\n".join([*whole, '{"step": 3}', '{"step": 2']))
    with Metrics(tmp_path, 2) as metrics:
        metrics.write(3, {"a": 1.0})
        metrics.settle()
        assert _strict(path.read_text()) == [
            {"step": 1, "a": None},
            {"step": 2},
            {"step": 2, "val": 1},
            {"step": 3, "a": 1.0},
        ]
