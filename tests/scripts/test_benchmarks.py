"""Every script of benchmarks runs, in its smallest form, and writes its JSON; nothing is timed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
SMALLEST = {
    "bench_baselines": "--windows 40 --features 30 --components 8 --steps 5",
    "bench_build": "--density 32k --volumes 40 --repeats 1 --workbench-repeats 0 --threads 1 --runs 5"
    " --workers-volumes 40 --workers-repeats 1 --lengths 30,40 --subjects 1,2",
    "bench_embed": "--seconds 4 --repeats 1",
    "bench_encoding": "--vertices 8 16 --seconds 60 20",
    "bench_feeds": "--subjects 1 --seconds 20 --batch 4 --batches 2 --rounds 1",
    "bench_pretrain": "--ico 1 --batch 1 --steps 1 --threads 1",
    "bench_reader": "--subjects 1 --movies 1 --seconds 32 --rounds 1 --time 0.05 --cold-batches 1",
    "bench_step": "--batch 1 --steps 1 --variants published,ours",
    "bench_stream": "--subjects 1 --windows 16 --rounds 1 --seconds 0.02 --sides simtrain,np.memmap,zarr",
}
ELSEWHERE = {"bench_time_to_accuracy"}  # tested by a file of its own


def test_all_benchmarks_are_here():
    assert {path.stem for path in SCRIPTS.glob("bench_*.py")} == {*SMALLEST, *ELSEWHERE}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_a_benchmark_runs(name, tmp_path):
    if name == "bench_embed" and shutil.which("ffmpeg") is None:
        pytest.skip("cutting clips as published needs the program ffmpeg")
    options = SMALLEST[name].split()
    if name == "bench_reader":
        options += ["--work", tmp_path / "work"]
    out = tmp_path / "result.json"
    ran = subprocess.run(
        [sys.executable, SCRIPTS / f"{name}.py", *options, "--out", out], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(out.read_text())
