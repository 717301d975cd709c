"""Of what pretraining comes to: who is labelled, and how it is told."""

import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import measure_pretraining


def test_labelled_are_the_first_training_subjects_and_the_other_sets_are_the_stores(monkeypatch):
    store = SimpleNamespace(subjects=["a", "b", "c", "d", "e"], subject_split=[1, 3, 1, 2, 1])
    monkeypatch.setattr(measure_pretraining, "open_dataset", lambda path: store)
    found = measure_pretraining.of_few(Path(), 2)["subjects"]
    assert found == {"train": ["a", "c"], "val": ["d"], "test": ["b"]}


def test_errors_are_shares_of_that_of_zero_and_retrieval_is_in_percent():
    errors = [{"model": 1.5, "zero": 2.0, "linear": 1.0}, {"model": 1.0, "zero": 2.0, "linear": 1.0}]
    told = measure_pretraining.error_line(errors)
    assert told == "error, of that of 0: pretrained 0.6250 ± 0.1768, linear prediction 0.5000 ± 0.0000"
    cells = {(1, "random"): [{"val/new-scenes-top1-audio": 0.25}, {"val/new-scenes-top1-audio": 0.75}]}
    lines = measure_pretraining.table(cells).splitlines()
    assert lines[0] == "| subjects | start | new-scenes-top1-audio |"
    assert lines[2] == "| 1 | random | 50.0 ± 35.4 |"
