"""The ablation: its variants, and what its tables say of cells that are there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module", autouse=True)
def scripts_on_the_path():
    sys.path.insert(0, str(SCRIPTS))
    yield
    sys.path.remove(str(SCRIPTS))


def planted(out, variant, values):
    import ablate_embeddings as ablation

    for seed, value in enumerate(values):
        validation = dict.fromkeys(("retrieval", *ablation.GROUPS), value)
        test = {name: dict.fromkeys(ablation.DIRECTIONS, 0.5) for name in ablation.EXPERIMENTS}
        cell = {"validation": validation, "test": test}
        ablation.cell_file(out, variant, seed).write_text(json.dumps(cell))


def rows_of(table):
    return {
        row.split("|")[1].strip(): [one.strip() for one in row.split("|")[2:-1]] for row in table.split("\n")
    }


def test_gains_are_paired_over_seeds_and_of_validation(tmp_path):
    import ablate_embeddings as ablation

    planted(tmp_path, "linear", [0.2, 0.3, 0.4])
    planted(tmp_path, "pca", [0.31, 0.40, 0.49])  # gains of 11, 10 and 9 points
    planted(tmp_path, "whitened", [0.2])
    seeds = [0, 1, 2]
    assert rows_of(ablation.levels(tmp_path, seeds, ablation.VALIDATION))["linear"][0] == "30.0 ± 10.0"
    found = rows_of(ablation.gains(tmp_path, seeds, ablation.VALIDATION))
    reach = 4.3027 / np.sqrt(3)  # the 97.5 % point of t with two degrees of freedom, times an s.d. of 1
    assert found["both"] == [f"+10.0 (+{10 - reach:.1f} to +{10 + reach:.1f})"] * 3 + ["3"]
    assert found["whitening, one map"] == ["+0.0"] * 3 + ["1"]
    assert "attention, pca" not in found
    assert rows_of(ablation.levels(tmp_path, seeds, ablation.TEST))["pca"][0] == "50.0 ± 0.0"


def test_every_gain_is_of_two_variants_that_differ_in_what_is_named():
    import ablate_embeddings as ablation

    variants = {name: settings for group in ablation.VARIANTS.values() for name, settings in group.items()}
    for one, other in ablation.GAINS.values():
        assert len(dict(variants[one].items() ^ variants[other].items())) == 1, (one, other)
