"""Banded ridge regression of one subject at the release's size: ours beside himalaya on all vertices at once.

Two feature spaces of 768 at five delays, 2,400 seconds of training in 15 clips and 600 of test (the release
has 3,655, with rest and the repeated clip), 17 penalties, 5 folds. Both sides choose among the same mixes and
predict the test, in processes forked from this one, one after the other, on as many threads as
OMP_NUM_THREADS says:

* ours: `simtrain.encoding.banded_ridge`, decompositions in float64, errors of folds in float32, vertices in
  parts;
* himalaya: `solve_multiple_kernel_ridge_random_search` of its torch backend, all in float32, all vertices at
  once.

The time of a mix is that of its decompositions, and one that is linear in vertices: with two numbers of
vertices, both are told apart, and what a hemisphere of 29,700 takes is worked out.

    OMP_NUM_THREADS=1 python scripts/bench_encoding.py --vertices 512 1024 --out bench_encoding.json
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from simdata.common import json_text
from simtrain.baselines.penalties import PENALTIES
from simtrain.encoding.banded_ridge import BandedRidge
from simtrain.encoding.mixes import as_given, candidates, least_number

FEATURES, DELAYS, SPACES, CLIPS, FOLDS = 768, 5, 2, 15, 5
HEMISPHERE = 29_700  # vertices of the cortex


def made(train: int, test: int, vertices: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Features of all seconds of each space, BOLD of training, and the fold of each second."""
    rng = np.random.default_rng(0)
    spaces = []
    for _ in range(SPACES):
        course = rng.standard_normal((train + test + DELAYS - 1, FEATURES), dtype=np.float32)
        spaces.append(np.hstack([course[delay : delay + train + test] for delay in range(DELAYS)]))
    signal = spaces[0][:train, :20] @ rng.standard_normal((20, vertices), dtype=np.float32) / 20
    bold = signal + rng.standard_normal(signal.shape, dtype=np.float32)
    return spaces, bold, np.arange(train) * CLIPS // train % FOLDS


def mixes_of(power: np.ndarray, count: int) -> np.ndarray:
    return candidates(power, count) if count >= least_number(SPACES) else as_given(power)


def ours(spaces: list[np.ndarray], bold: np.ndarray, fold: np.ndarray, count: int) -> np.ndarray:
    x, new = ([space[part] for space in spaces] for part in (slice(len(fold)), slice(len(fold), None)))
    ridge = BandedRidge(x, new, fold, torch.device("cpu"))
    return ridge.fit(bold, mixes_of(ridge.power, count)).predicted


def himalaya(spaces: list[np.ndarray], bold: np.ndarray, fold: np.ndarray, count: int) -> np.ndarray:
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import (
        predict_weighted_kernel_ridge,
        solve_multiple_kernel_ridge_random_search,
    )
    from sklearn.model_selection import PredefinedSplit

    set_backend("torch")
    power = np.array(
        [np.square(space[: len(fold)] - space[: len(fold)].mean(axis=0)).sum() for space in spaces]
    )
    kernels = np.stack([space @ space[: len(fold)].T for space in spaces])
    unit = power.sum() / sum(space.shape[1] for space in spaces)
    deltas, dual, *_, intercept = solve_multiple_kernel_ridge_random_search(
        torch.from_numpy(kernels[:, : len(fold)]),
        torch.from_numpy(bold),
        n_iter=mixes_of(power, count) * power.sum() / power,
        alphas=torch.from_numpy((PENALTIES * unit).astype(np.float32)),
        cv=PredefinedSplit(fold),
        fit_intercept=True,
        return_weights="dual",
        progress_bar=False,
    )
    cross = torch.from_numpy(kernels[:, len(fold) :])
    return (predict_weighted_kernel_ridge(cross, dual, deltas) + intercept).numpy()


SIDES = {"ours": ours, "himalaya": himalaya}


def _measured(side: str, sizes: tuple[int, int, int], count: int, out: Connection) -> None:
    data = made(*sizes)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    predicted = SIDES[side](*data, count)
    seconds, after = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out.send({"cpu_s": seconds, "data_mb": before / 1024, "peak_mb": after / 1024, "predicted": predicted})


def measure(side: str, sizes: tuple[int, int, int], count: int) -> dict[str, float | np.ndarray]:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_measured, args=(side, sizes, count, there))
    process.start()
    found = here.recv()
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vertices", type=int, nargs=2, default=(512, 1024), metavar="N")
    parser.add_argument("--seconds", type=int, nargs=2, default=(2400, 600), metavar=("TRAIN", "TEST"))
    parser.add_argument("--mixes", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    record: dict[str, dict[str, float]] = {}
    predicted = {}
    for side in SIDES:
        few, many = (measure(side, (*arguments.seconds, n), arguments.mixes) for n in arguments.vertices)
        predicted[side] = many.pop("predicted")
        by_vertex = (many["cpu_s"] - few["cpu_s"]) / (arguments.vertices[1] - arguments.vertices[0])
        fixed = few["cpu_s"] - by_vertex * arguments.vertices[0]
        record[side] = {
            "cpu_s_few": few["cpu_s"],
            "cpu_s_many": many["cpu_s"],
            "cpu_s_fixed": fixed,
            "cpu_s_hemisphere": fixed + by_vertex * HEMISPHERE,
            "peak_mb_few": few["peak_mb"],
            "peak_mb_many": many["peak_mb"],
            "data_mb_many": many["data_mb"],
        }
        print(side, {name: round(value, 1) for name, value in record[side].items()}, flush=True)
    ratio = record["ours"]["cpu_s_hemisphere"] / record["himalaya"]["cpu_s_hemisphere"]
    apart = float(np.abs(predicted["ours"] - predicted["himalaya"]).max())
    print(f"a hemisphere: ours / himalaya {ratio:.2f} of CPU; predictions differ by {apart:.1e} at most")
    if arguments.out is not None:
        content = {"arguments": vars(arguments) | {"out": None}, **record, "ratio": ratio, "apart": apart}
        arguments.out.write_text(json_text.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
