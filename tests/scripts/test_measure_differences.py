"""Of the table of differences: what is changed, on whom it is tested, and how it is told."""

import sys
from pathlib import Path
from types import SimpleNamespace

from simtrain.config.composition import load

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import measure_differences
from measure_differences import Effect


def test_every_change_is_one_of_the_demos_configuration():
    usual = load("demo").to_yaml()
    for name, settings in measure_differences.CHANGES.items():
        texts = [f"{key}={'null' if value is None else value}" for key, value in settings.items()]
        assert load("demo", texts).to_yaml() != usual, name


def test_test_subjects_are_in_no_set_and_nobody_is_trained_and_tested(monkeypatch):
    names = [f"s{number}" for number in range(9)]
    store = SimpleNamespace(subjects=names, subject_split=[1, 1, 1, 1, 1, 1, 2, 3, 3])
    monkeypatch.setattr(measure_differences, "open_dataset", lambda path: store)
    found = measure_differences.subjects_apart(Path())["subjects"]
    assert found == {"train": names[:4], "val": [], "test": ["s6", "s4", "s5"]}


def test_the_table_has_points_and_bounds():
    rows = {"loss": {"fmri->video": Effect(0.5, 0.1, -0.02, 0.2), "fmri->audio": Effect(0.25, -0.1, -0.2, 0)}}
    rows["few subjects"] = dict.fromkeys(rows["loss"], Effect(0.5, 0.1, None, None))
    assert measure_differences.table(rows).splitlines()[2:] == [
        "| loss | 50.0 | +10.0 (-2.0 to +20.0) | 25.0 | -10.0 (-20.0 to +0.0) |",
        "| few subjects | 50.0 | +10.0 | 50.0 | +10.0 |",
    ]
