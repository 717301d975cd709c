"""Cells that are kept, and tables of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import cells


def test_a_cell_is_worked_out_once_and_kept(tmp_path):
    file = tmp_path / "deep" / "one.3.json"
    assert cells.once(file, lambda: {"share": 0.5}) == {"share": 0.5}
    assert cells.once(file, lambda: pytest.fail("worked out again")) == {"share": 0.5}


def test_a_cell_that_fails_is_not_kept(tmp_path):
    with pytest.raises(ZeroDivisionError):
        cells.once(tmp_path / "one.json", lambda: 1 / 0)
    assert not (tmp_path / "one.json").exists()


def test_a_table_shows_the_spread_of_several_and_the_sign_where_asked():
    assert cells.spread([0.5]) == "0.5"
    assert cells.spread([1.0, 3.0], 2) == "2.00 ± 1.41"
    assert cells.spread([1.0, 3.0], sign="+") == "+2.0 ± 1.4"
    assert cells.markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert cells.numbers("0,1,2") == [0, 1, 2]
