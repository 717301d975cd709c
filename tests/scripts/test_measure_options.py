"""Of the table of options: what is changed, that no test set is touched, and how it is told."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from simtrain.config.composition import load

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import measure_options
from measure_options import FIGURES, USUAL


def test_every_option_is_one_of_the_demos_configuration():
    usual = load("demo").to_yaml()
    for name, settings in measure_options.OPTIONS.items():
        texts = [f"{key}={value}" for key, value in settings.items()]
        assert (load("demo", texts).to_yaml() == usual) == (name == USUAL)


def test_nothing_of_the_test_sets_is_trained_on_or_validates(monkeypatch):
    names = [f"s{number}" for number in range(9)]
    store = SimpleNamespace(subjects=names, subject_split=[1, 1, 1, 1, 1, 1, 2, 3, 3])
    monkeypatch.setattr(measure_options, "open_dataset", lambda path: store)
    found = measure_options.apart(Path())
    assert found["subjects"] == {"train": names[:5], "val": ["s5", "s6"], "test": ["s7", "s8"]}
    assert found["scenes"]["clips"]["test"] == ["beta", "zeta", "theta"], "as in the catalog of the demo"


def test_differences_are_of_the_same_seeds_in_points():
    usual = [dict.fromkeys(FIGURES, value) for value in (0.5, 0.75)]
    changed = [dict.fromkeys(FIGURES, value) for value in (0.75, 0.625)]
    found = measure_options.effects(changed, usual)
    assert found["retrieval"] == pytest.approx((0.6875, 0.0625, -0.125, 0.25))
    told = measure_options.table({USUAL: measure_options.effects(usual, usual), "b": found}).splitlines()
    assert told[2].startswith("| (none) | 62.5 % |")
    assert told[3].startswith("| b | +6.2 (-12.5 to +25.0) |")
