"""The table of docs/clock.md, in a short scan."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from measure_clock import WAYS, measure


@pytest.mark.parametrize(("tr", "least"), [(0.8, 0.999), (1.49, 0.999), (2.0, 0.998), (2.47, 0.996)])
def test_what_docs_say_of_each_way_holds(tr, least):
    found = {way: of["without noise"] for way, of in measure(tr, 300, np.random.default_rng(1)).items()}
    assert set(found) == set(WAYS)
    assert found["cubic"] >= max(least, found["linear"] - 1e-4)
    assert found["early"] < found["nearest"] < found["cubic"] or tr < 1
    assert found["early"] < 1 - 0.004 * tr
