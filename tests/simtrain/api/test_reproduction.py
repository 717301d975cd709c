"""The paper's tables from Python; `tests/simtrain/reproduction` has the rest."""

from examples import must_run

import simtrain


def test_the_examples_run(store, tmp_path):
    must_run(simtrain.reproduce, store=store, out=tmp_path / "out")
