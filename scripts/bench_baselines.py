"""What baselines cost in seconds of processor time, beside the strongest rivals and at the size of HCP 7T.

On windows of a store, or of noise in the release's real size, both sides in this process, in turn:

* main axes: `simtrain.models.main_axes` in blocks, against scikit-learn's `randomized_svd` of the same
  windows in memory, with as many passes; both against the exact axes, by the variance that they explain;
* ridge regression with penalties by cross-validation: `simtrain.baselines.ridge.solve`, against himalaya's
  `RidgeCV`, of random data; weights and penalties must be equal;
* a window read, normalised and projected; a step of the projectors; a volume as means of patches, and in maps
  of inter-subject correlation; a row of ridge regression's moments.

What is said of HCP 7T is these figures times its numbers of windows, volumes and steps.

    python scripts/bench_baselines.py --store demo.zarr --out bench_baselines.json
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from himalaya.ridge import RidgeCV
from sklearn.model_selection import PredefinedSplit
from sklearn.utils.extmath import randomized_svd
from synthetic_store import write_store

from simdata.common import json_text
from simtrain.baselines.courses import Courses
from simtrain.baselines.experiments import ICO
from simtrain.baselines.isc import film_seconds, isc
from simtrain.baselines.penalties import PENALTIES
from simtrain.baselines.projectors import ScoresLearner, train_projectors
from simtrain.baselines.ridge import Fold, Moments, solve
from simtrain.baselines.scores import Scores, ScoresFeed
from simtrain.baselines.vertices import Volumes, whole_hemisphere
from simtrain.config.composition import load
from simtrain.config.resolved import ResolvedConfig
from simtrain.data.dataset import Dataset, open_dataset, resolve
from simtrain.data.windows import Windows, by_hemisphere, training
from simtrain.models.main_axes import OVERSAMPLE, PASSES, Axes, main_axes
from simtrain.training.preparation import decoded, draw

CPU = torch.device("cpu")
BLOCK = 64  # windows
# catalogs/hcp7t-movie.yaml: its subjects and volumes, what is fitted by default, and about so many
# training windows of ridge regression.
HCP = {
    "subjects": 184,
    "volumes": 921 + 918 + 915 + 901,
    "windows": 20_000,
    "steps": 20_000,
    "rows": 138 * 1_600,
}
RIDGE = 3040  # features: patches of ico2 in both hemispheres, five delays
EQUAL = {"variance": 0.08, "weights": 1e-8}  # of the exact axes' variance; absolute


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.store is None:
            arguments.store = Path(folder) / "noise.zarr"
            write_store(arguments.store, subjects=2, movies=1)
        found = measure(open_dataset(arguments.store), arguments)
    print(json_text.dumps(found, indent=2))
    json_text.write(arguments.out, found)


def measure(dataset: Dataset, arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures, by what they are of."""
    config = resolve(load("demo"), dataset)
    windows = training(Windows.of(dataset, config).find())
    found = {
        "axes": [
            bench_axes(dataset, config, windows, count, arguments.components) for count in arguments.windows
        ],
        "ridge": [bench_ridge(features) for features in arguments.features],
        "projectors": bench_projectors(dataset, config, windows, arguments.components, arguments.steps),
        "volumes": bench_volumes(dataset, config),
        "components": arguments.components,
        "threads": torch.get_num_threads(),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    return found | {"hcp": at_hcp(found, dataset.cortex.shape[1] * config.data.frames)}


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time of all threads, and what the work gives."""
    before = time.process_time()
    result = work()
    return time.process_time() - before, result


def bench_axes(
    dataset: Dataset, config: ResolvedConfig, windows: np.ndarray, count: int, components: int
) -> dict[str, float]:
    drawn = draw(by_hemisphere(windows), count, seed=0)
    blocks = decoded(dataset, drawn, whole_hemisphere(dataset, config), config.data.frames, CPU)
    reading, rows = seconds(lambda: torch.cat([block.clone() for block in blocks()])[:, 0])

    def in_blocks() -> Iterator[torch.Tensor]:
        return (block[:, None] for block in rows.split(BLOCK))

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
    moments, _ = seconds(lambda: Moments.of(x, y))
    return {
        "features": features,
        "rows": rows,
        "moments_s": moments,
        "ours_s": ours,
        "himalaya_s": theirs,
        "ratio": theirs / ours,
        "largest_difference": float(np.abs(weights - other).max()),
    }


def bench_projectors(
    dataset: Dataset, config: ResolvedConfig, windows: np.ndarray, components: int, steps: int
) -> dict[str, float]:
    """On random axes: a window of a hemisphere, and a step beyond the first few."""
    columns = dataset.cortex.shape[1] * config.data.frames
    axes = torch.randn(1, components, columns) / columns**0.5
    some = Axes(torch.zeros(1, columns), axes, torch.ones(1, components), torch.ones(1))
    scores = Scores(some, Volumes(dataset, config, CPU), config.data.frames)
    samples = by_hemisphere(windows, config.data.sides)
    scores.of(samples[:2])  # what is compiled at the first call
    projecting, values = seconds(lambda: scores.of(samples))
    used, feed = Windows.of(dataset, config), ScoresFeed(samples, values)

    def train(steps: int) -> None:
        short = config.model_copy(update={"train": config.train.model_copy(update={"steps": steps})})
        learner = ScoresLearner(short, dataset, used.embeddings, components)
        learner.stimuli.fit(used.clips)
        train_projectors(learner, short, used, windows, windows[:0], feed)

    train(5)
    few, many = (seconds(partial(train, number))[0] for number in (steps, 2 * steps))
    return {"window_s": projecting / len(samples), "step_s": (many - few) / steps}


def bench_volumes(dataset: Dataset, config: ResolvedConfig) -> dict[str, float]:
    """Of a hemisphere of a run."""
    subjects, movie = np.flatnonzero(dataset.complete[:, 0])[:2], 0
    watched = film_seconds(dataset, movie, config.data.lag)
    courses = Courses(dataset, ICO)
    of_patches, _ = seconds(lambda: [courses.run(int(subject), movie) for subject in subjects])
    of_isc, _ = seconds(lambda: isc(dataset, [subjects], movie, 0, watched))
    volumes = len(subjects) * int(dataset.volumes[movie])
    return {"patches_s": of_patches / volumes / 2, "isc_s": of_isc / volumes}


def at_hcp(found: dict[str, Any], columns: int) -> dict[str, float]:
    """Seconds and bytes: windows, volumes, rows and steps by their number, ridge by its features too."""
    last, own, ridge = found["axes"][-1], found["projectors"], found["ridge"][-1]
    per_window = (last["ours_s"] + PASSES * last["reading_s"]) / last["windows"]
    volumes = HCP["subjects"] * HCP["volumes"] * 2
    rank, wider = found["components"] + OVERSAMPLE, RIDGE / ridge["features"]
    return {
        "axes_s": per_window * HCP["windows"],
        "projecting_s": own["window_s"] * volumes,
        "steps_s": own["step_s"] * HCP["steps"],
        "isc_s": found["volumes"]["isc_s"] * volumes,
        "ridge_courses_s": found["volumes"]["patches_s"] * volumes,
        "ridge_moments_s": ridge["moments_s"] / ridge["rows"] * wider**2 * HCP["rows"],
        "ridge_solution_s": ridge["ours_s"] * wider**3,
        "axes_bytes": 4.0 * columns * (3 * rank + BLOCK),
        "scores_bytes": 4.0 * found["components"] * volumes,
        "ridge_bytes": 8.0 * RIDGE**2 * 12,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, help="default: noise")
    parser.add_argument("--windows", type=int, nargs="+", default=[400, 800])
    parser.add_argument("--features", type=int, nargs="+", default=[300, 600])
    parser.add_argument("--components", type=int, default=256)
    parser.add_argument("--steps", type=int, default=200, help="timed steps of the projectors")
    parser.add_argument("--out", type=Path, default=Path("bench_baselines.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
