"""The study's arithmetic: its linear reference, and what its table says of cells that are there."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from simdata.common import json_text
from simtrain.models.main_axes import main_axes

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module", autouse=True)
def scripts_on_the_path():
    sys.path.insert(0, str(SCRIPTS))
    yield
    sys.path.remove(str(SCRIPTS))


def test_the_linear_reference_is_the_conditional_mean_of_a_gaussian():
    from linear_reference import Gaussian

    rng = np.random.default_rng(0)
    loadings = 2 * rng.normal(size=(30, 3))
    rows = rng.normal(size=(20_000, 3)) @ loadings.T + 0.5 * rng.normal(size=(20_000, 30)) + 1
    blocks = torch.from_numpy(rows.astype(np.float32))[:, None]
    model = Gaussian(main_axes(lambda: iter([blocks]), 3), 30)
    visible = np.arange(30) < 20
    covariance = loadings @ loadings.T + 0.25 * np.eye(30)  # as planted
    seen = covariance[np.ix_(visible, visible)]
    for row in rows[:5]:
        factor = np.linalg.solve(seen, (row - 1)[visible])
        expected = 1 + covariance[np.ix_(~visible, visible)] @ factor
        told = model.conditional_mean(torch.from_numpy(row.astype(np.float32)), torch.from_numpy(visible))
        np.testing.assert_allclose(told.numpy()[~visible], expected, atol=0.1)


def planted(out, gain):
    """Cells in which the transformer is above PCA by ``gain`` points with the warp, and by 0 without it."""
    import study_demo

    for without, models in study_demo.needed(["warp"]).items():
        for seed in (0, 1, 2):
            for model in models:
                value = 0.5 + 0.001 * seed + (gain / 100 if model != "pca" and not without else 0)
                found = {name: dict.fromkeys(study_demo.DIRECTIONS, value) for name in study_demo.EXPERIMENTS}
                if model == "linear":  # better in the test, worse in validation
                    found = {name: dict.fromkeys(study_demo.DIRECTIONS, 0.99) for name in found}
                cell = {"validation": 0.1 if model == "linear" else 0.2, "top-1": found}
                file = study_demo.cell_file(out, without, seed, model)
                file.parent.mkdir(parents=True, exist_ok=True)
                json_text.write(file, cell)
    study_demo.same_sizes(out, {"subjects": None, "steps": 400})


@pytest.mark.parametrize(("gain", "said"), [(7, "gain"), (-7, "loss")])
def test_the_table_finds_what_is_planted_and_goes_by_validation(tmp_path, gain, said):
    import study_demo

    planted(tmp_path, gain)
    study = study_demo.recorded(tmp_path)
    told = study_demo.verdicts(study["cells"], ["warp"], (0, 1, 2))
    row = next(line for line in told.splitlines() if "new-subjects" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:2] == ["warp", "transformer over PCA"]
    assert [cells[place] for place in (3, 4, 5, 6)] == [
        f"{gain:+.1f} ± 0.0",
        "+0.0 ± 0.0",
        f"{gain:+.1f} ± 0.0",
        said,
    ]
    assert cells[8] != "gain"


def test_a_file_keeps_all_cells_for_another_folder(tmp_path, monkeypatch, capsys):
    import study_demo

    planted(tmp_path / "one", 3)
    file = tmp_path / "study.json"
    for out in ("one", "another"):
        words = ["--out", str(tmp_path / out), "--record", str(file), "--table"]
        monkeypatch.setattr(sys, "argv", ["study_demo.py", *words])
        study_demo.main()
    told = capsys.readouterr().out
    half = len(told) // 2
    assert told[:half] == told[half:]
    assert "| complete | pca | 50.1 ± 0.1 |" in told
    assert "| without-warp | pca-patches | 50.1 ± 0.1 |" in told


def test_seeds_that_differ_leave_a_verdict_open():
    import study_demo

    assert study_demo.verdict([5.0, 1.0, 9.0]) == "open"
    assert study_demo.verdict([5.0, 5.1, 4.9]) == "gain"
    assert study_demo.verdict([5.0, 5.1]).startswith("open")


def test_a_cell_that_is_there_is_not_done_again(tmp_path, monkeypatch):
    import study_demo

    monkeypatch.setattr(study_demo, "built", lambda *given: pytest.fail("a miniature was written"))
    planted(tmp_path, 1)
    options = study_demo.Options(tmp_path, None, 1000, False)
    for without, models in study_demo.needed(["warp"]).items():
        study_demo.run_condition(without, models, 2, options)


def test_a_folder_has_cells_of_one_size(tmp_path):
    import study_demo

    study_demo.same_sizes(tmp_path, {"subjects": 6, "steps": 300})
    study_demo.same_sizes(tmp_path, {"subjects": 6, "steps": 300})
    with pytest.raises(SystemExit, match="give another --out"):
        study_demo.same_sizes(tmp_path, {"subjects": None, "steps": 300})
