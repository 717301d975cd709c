"""What the benchmark of time to accuracy says of the times that it measured."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module", autouse=True)
def scripts_on_the_path():
    sys.path.insert(0, str(SCRIPTS))
    yield
    sys.path.remove(str(SCRIPTS))


def side(seconds, reached=True):
    return {"seconds": seconds, "step": 7, "retrieval": 0.25 if reached else 0.05, "reached": reached}


def test_ratios_are_of_each_seed_with_their_spread():
    from bench_time_to_accuracy import told

    pairs = [{"ours": side(2.0), "published": side(40.0)}, {"ours": side(1.0), "published": side(24.0)}]
    found = told(pairs, 0.2, 50).splitlines()
    assert found[1] == "seed 0: ours 2.0 (7 steps), published 40.0 (7 steps): 20.0 x"
    assert found[-1] == "ratio: 22.0 ± 2.8 (mean ± s.d. of seeds)"


def test_what_is_not_reached_is_a_bound_and_no_figure():
    from bench_time_to_accuracy import told

    found = told([{"ours": side(2.0), "published": side(40.0, reached=False)}], 0.2, 20).splitlines()
    assert (
        found[1] == "seed 0: ours 2.0 (7 steps), published > 40.0 (7 steps, and is at 5.0% there): > 20.0 x"
    )
    assert found[-1] == "ratio: > 20, or as above where the target was reached"
    assert told([{"ours": side(2.0, reached=False), "published": side(1.0)}], 0.2, 20).splitlines()[1:] == [
        "seed 0: ours ends at 5.0%"
    ]


def test_the_clock_leaves_out_what_it_is_told_to():
    from bench_time_to_accuracy import Clock

    clock, began = Clock(), time.process_time()
    while time.process_time() - began < 0.2:
        pass
    clock.without(0.2)
    assert 0 <= clock.seconds < 0.15
