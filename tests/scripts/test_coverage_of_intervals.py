"""Simulated studies: how often intervals have the truth."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from coverage_of_intervals import EFFECTS, covered, main, of_subjects, ours

WITH_EFFECTS = [name for name in EFFECTS if name != "neither differs"]


LARGE = [pytest.param(*size, marks=pytest.mark.slow) for size in ((8, 18), (26, 18))]


@pytest.mark.parametrize(("subjects", "clips"), [(8, 8), *LARGE])
@pytest.mark.parametrize("effects", WITH_EFFECTS)
def test_intervals_cover_the_truth_as_often_as_they_say(effects, subjects, clips):
    assert 0.93 <= covered(EFFECTS[effects], subjects, clips, ours, 2000) <= 0.97


@pytest.mark.parametrize(("subjects", "clips"), [(8, 8), (26, 8)])
def test_they_are_too_wide_and_not_too_narrow_where_nothing_differs(subjects, clips):
    assert covered(EFFECTS["neither differs"], subjects, clips, ours, 1000) >= 0.95


def test_a_bootstrap_of_subjects_was_too_narrow():
    assert covered(EFFECTS["subjects and clips differ"], 8, 8, of_subjects, 300) < 0.85


def test_the_truth_is_the_mean_of_many_studies():
    rng = np.random.default_rng(0)
    for effects in EFFECTS.values():
        means = [effects.study(rng, 30, 30).mean() for _ in range(300)]
        assert np.mean(means) == pytest.approx(effects.truth, abs=4 * np.std(means) / np.sqrt(300))


def test_the_table_has_a_row_for_each_size(capsys):
    main(["--studies", "3"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| subjects | clips | subjects and clips differ: bootstrap of subjects / ")
    assert lines[2].startswith("| 2 | 8 | ")
    assert lines[2].count("/ none |") == len(EFFECTS)
    assert len(lines) == 2 + 8
