"""What baselines cost in seconds of processor time, beside the strongest rivals and at the size of HCP 7T.

On windows of a store, both sides in this process, one after the other:

* main axes: `simtrain.models.main_axes` in blocks, against scikit-learn's `randomized_svd` of the same
  windows in memory, with as many passes; both against the exact axes, by the variance that they explain;
* ridge regression with penalties by cross-validation: `simtrain.baselines.ridge.solve`, against himalaya's
  `RidgeCV`, of random data; weights and penalties must be equal;
* a window read, normalised and projected, and a step of the projectors, as differences of two sizes.

What is said of HCP 7T is these figures times its numbers of windows, volumes and steps.

    python scripts/bench_baselines.py demo.zarr --out bench_baselines.json
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from himalaya.ridge import RidgeCV
from sklearn.model_selection import PredefinedSplit
from sklearn.utils.extmath import randomized_svd

from simdata.common import json_text
from simtrain.baselines.penalties import PENALTIES
from simtrain.baselines.projectors import ScoresLearner, train_projectors
from simtrain.baselines.ridge import Fold, solve
from simtrain.baselines.scores import Scores, ScoresFeed
from simtrain.baselines.vertices import Volumes, whole_hemisphere
from simtrain.config.composition import load
from simtrain.config.resolved import ResolvedConfig
from simtrain.data.dataset import Dataset, open_dataset, resolve
from simtrain.data.windows import Windows, by_hemisphere, training
from simtrain.models.main_axes import OVERSAMPLE, PASSES, Axes, main_axes
from simtrain.training.preparation import decoded, draw

CPU = torch.device("cpu")
COMPONENTS, BLOCK = 256, 64
# catalogs/hcp7t-movie.yaml: its subjects and volumes, and what is fitted by default.
HCP = {"subjects": 184, "volumes": 921 + 918 + 915 + 901, "windows": 20_000, "steps": 20_000}
RIDGE = 3040  # features: patches of ico2 in both hemispheres, five delays
EQUAL = {"variance": 0.05, "weights": 1e-8}  # of the exact axes' variance; absolute


def main() -> None:
    arguments = _arguments()
    dataset = open_dataset(arguments.store)
    config = resolve(load("demo"), dataset)
    windows = training(Windows.of(dataset, config).find())
    found = {
        "axes": [bench_axes(dataset, config, windows, count) for count in arguments.windows],
        "ridge": [bench_ridge(features) for features in arguments.features],
        "projectors": bench_projectors(dataset, config, windows),
        "threads": torch.get_num_threads(),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    found["hcp"] = at_hcp(found, dataset.cortex.shape[1] * config.data.frames)
    print(json_text.dumps(found, indent=2))
    json_text.write(arguments.out, found)


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time of all threads, and what the work gives."""
    before = time.process_time()
    result = work()
    return time.process_time() - before, result


def bench_axes(dataset: Dataset, config: ResolvedConfig, windows: np.ndarray, count: int) -> dict[str, float]:
    drawn = draw(by_hemisphere(windows), count, seed=0)
    blocks = decoded(dataset, drawn, whole_hemisphere(dataset, config), config.data.frames, CPU)
    reading, rows = seconds(lambda: torch.cat([block.clone() for block in blocks()])[:, 0])

    def in_blocks() -> Iterator[torch.Tensor]:
        return (block[:, None] for block in rows.split(BLOCK))

    components = min(COMPONENTS, count // 2)
    ours, axes = seconds(lambda: main_axes(in_blocks, components))
    centred = (rows - rows.mean(dim=0)).numpy()
    # Each of its iterations goes over the rows twice, and it does so twice more.
    theirs, (_, singular, _) = seconds(
        lambda: randomized_svd(
            centred, components, n_oversamples=OVERSAMPLE, n_iter=PASSES - 1, random_state=0
        )
    )
    exact = np.linalg.eigvalsh(centred.astype(np.float64) @ centred.T)[-components:].sum() / (count - 1)
    explained = {
        "ours": float(axes.variance.sum()) / exact,
        "sklearn": float(np.square(singular).sum()) / (count - 1) / exact,
    }
    assert all(1 - EQUAL["variance"] < share < 1 + 1e-3 for share in explained.values()), explained
    return {
        "windows": count,
        "reading_s": reading,
        "ours_s": ours,
        "sklearn_s": theirs,
        "ratio": theirs / ours,
        **{f"explained_{name}": share for name, share in explained.items()},
    }


def bench_ridge(features: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    rows, targets = features + features // 2, 24
    x, fold = rng.standard_normal((rows, features)), np.arange(rows) % 5
    y = x @ rng.standard_normal((features, targets)) * 0.1 + rng.standard_normal((rows, targets)) * 5

    def of_ours() -> tuple[np.ndarray, np.ndarray]:
        folds = [Fold() for _ in range(5)]
        for number, one in enumerate(folds):
            one.add(x[fold == number], y[fold == number])
        weights, _, _, penalty = solve(folds, CPU)
        return weights, penalty

    def of_himalaya() -> tuple[np.ndarray, np.ndarray]:
        centred = x - x.mean(axis=0)
        unit = np.square(centred).sum() / features
        model = RidgeCV(
            alphas=PENALTIES * unit,
            cv=PredefinedSplit(fold),
            solver_params={"n_alphas_batch": 1, "warn": False},
        )
        model.fit(centred, y - y.mean(axis=0))
        return model.coef_, model.best_alphas_ / unit

    ours, (weights, penalty) = seconds(of_ours)
    theirs, (other, chosen) = seconds(of_himalaya)
    np.testing.assert_allclose(penalty, chosen)
    np.testing.assert_allclose(weights, other, atol=EQUAL["weights"])
    return {
        "features": features,
        "rows": rows,
        "ours_s": ours,
        "himalaya_s": theirs,
        "ratio": theirs / ours,
        "largest_difference": float(np.abs(weights - other).max()),
    }


def bench_projectors(dataset: Dataset, config: ResolvedConfig, windows: np.ndarray) -> dict[str, float]:
    """Of random axes: a volume of a hemisphere, and a step, as differences of two sizes."""
    columns = dataset.cortex.shape[1] * config.data.frames
    axes = torch.randn(1, COMPONENTS, columns) / columns**0.5
    some = Axes(torch.zeros(1, columns), axes, torch.ones(1, COMPONENTS), torch.ones(1))
    scores = Scores(some, Volumes(dataset, config, CPU), config.data.frames)
    runs = np.unique(windows[["subject", "movie"]])
    of_runs = [by_hemisphere(windows[np.isin(windows[["subject", "movie"]], runs[:n])]) for n in (1, 5, 15)]
    scores.of(of_runs[0])  # what is compiled at the first call
    projecting = [seconds(lambda samples=samples: scores.of(samples)) for samples in of_runs[1:]]
    volume = (projecting[1][0] - projecting[0][0]) / (len(of_runs[2]) - len(of_runs[1]))
    feed = ScoresFeed(of_runs[2], projecting[1][1])
    used = Windows.of(dataset, config)

    def train(steps: int) -> None:
        short = config.model_copy(update={"train": config.train.model_copy(update={"steps": steps})})
        learner = ScoresLearner(short, dataset, used.embeddings, COMPONENTS)
        learner.stimuli.fit(used.clips)
        own = windows[np.isin(windows[["subject", "movie"]], runs[:15])]
        train_projectors(learner, short, used, own, windows[:0], feed)

    train(5)
    step = (seconds(lambda: train(250))[0] - seconds(lambda: train(50))[0]) / 200
    return {"window_s": volume, "step_s": step}


def at_hcp(found: dict[str, Any], columns: int) -> dict[str, float]:
    """Seconds and bytes, by how each grows: windows, volumes and steps, and ridge with its features cubed."""
    last, own, ridge = found["axes"][-1], found["projectors"], found["ridge"][-1]
    per_window = (last["ours_s"] + PASSES * last["reading_s"]) / last["windows"]
    volumes = HCP["subjects"] * HCP["volumes"] * 2
    rank = COMPONENTS + OVERSAMPLE
    return {
        "axes_s": per_window * HCP["windows"],
        "projecting_s": own["window_s"] * volumes,
        "steps_s": own["step_s"] * HCP["steps"],
        "ridge_solution_s": ridge["ours_s"] * (RIDGE / ridge["features"]) ** 3,
        "axes_bytes": 4.0 * columns * (3 * rank + BLOCK),
        "scores_bytes": 4.0 * COMPONENTS * volumes,
        "ridge_bytes": 8.0 * RIDGE**2 * 12,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store")
    parser.add_argument("--windows", type=int, nargs="+", default=[300, 600])
    parser.add_argument("--features", type=int, nargs="+", default=[300, 600])
    parser.add_argument("--out", type=Path, default=Path("bench_baselines.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
