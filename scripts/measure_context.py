"""What BOLD around a window adds to retrieval, by how far it reaches, as measured in validation.

For each seed a model is trained for each reach of the context, on the same windows with the same draws, and
its best weights by validation are looked at. Each cell is kept as JSON, and what is there already is not done
again. Test sets are not touched.

    OMP_NUM_THREADS=1 nice -n 10 python scripts/measure_context.py demo.zarr --out context --seeds 0,1,2
    python scripts/measure_context.py demo.zarr --out context --table      # of what is there

``masks alone`` is the same retrieval by the same model where the BOLD of every window, and around it, is that
of another moment in another film, and only how much of its surroundings a window may see is its own. It is
chance where there is no context; what is above that, a window's place in its scene has told, and no BOLD.

``cost``: processor time of a step beside that of a window alone, in one process, in turn.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from cells import markdown, once

import simtrain
from simdata.store import BoldReader
from simtrain.config.resolved import ResolvedConfig
from simtrain.data.dataset import Dataset, open_dataset, resolve
from simtrain.data.feeds import Batch, Stream
from simtrain.data.order import Cursor, shuffled_batches
from simtrain.data.windows import Windows
from simtrain.models.learner import Learner
from simtrain.training.contrastive import ContrastiveTraining
from simtrain.training.preparation import draw, find_samples
from simtrain.training.run_folder import FitRun
from simtrain.training.trained_model import load_learner
from simtrain.training.validation_retrieval import ValidationRetrieval, overall

PRESET = "demo"
ALONE = "3 s"  # the window without a context
REACHES: dict[str, dict[str, int]] = {
    ALONE: {},
    "10 s": {"context.before": 3, "context.after": 4},
    "30 s": {"context.before": 13, "context.after": 14},
    "100 s": {"context.before": 48, "context.after": 49},
    "30 s, before": {"context.before": 27},
    "30 s, after": {"context.after": 27},
    "10 s, window": {"data.frames": 10},
}
CPU = torch.device("cpu")
BATCH = 256  # samples
MASKS = "masks-"  # before what is retrieved without BOLD
LOOKED_AT = 2048  # validation samples
STEPS, WARM = 12, 3  # of the cost

Figures = dict[str, float]


class Elsewhere:
    """In place of `Surroundings`: shows each of some samples BOLD of another moment.

    Parameters
    ----------
    seen : (n, seconds), what of their own surroundings the samples may see
    volumes : (movies,) seconds of the runs, which are gone through in a circle
    """

    def __init__(self, seen: np.ndarray, before: int, volumes: np.ndarray) -> None:
        self._seen, self._before, self._volumes = seen, before, volumes

    def of_samples(self, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = moments["second"][:, None] + np.arange(self._seen.shape[1]) - self._before
        return at % self._volumes[moments["movie"]][:, None], self._seen


def elsewhere(samples: np.ndarray, dataset: Dataset, frames: int, seed: int) -> np.ndarray:
    """(n,) SAMPLE: for each, another second of another run of its subject."""
    rng, moved = np.random.default_rng(seed), samples.copy()
    for sample in moved:
        runs = np.flatnonzero(dataset.complete[sample["subject"]])
        sample["movie"] = rng.choice(runs[runs != sample["movie"]])
        sample["second"] = rng.integers(dataset.volumes[sample["movie"]] - frames + 1)
    return moved


@torch.no_grad()
def validated(learner: Learner, used: Windows, samples: np.ndarray, config: ResolvedConfig) -> Figures:
    """Top-1 in validation of ``samples`` (SAMPLE), as shares: by their own BOLD, and by that of elsewhere."""
    frames, retrieval = config.data.frames, ValidationRetrieval(learner, used.clips)
    others = elsewhere(samples, used.dataset, frames, config.train.seed)
    found: dict[str, list[torch.Tensor]] = {}
    for start in range(0, len(samples), BATCH):
        own, other = samples[start : start + BATCH], others[start : start + BATCH]
        clips = learner.embed_clips(own["movie"], own["clip"])
        by_bold = embedded(learner, used.dataset, own, frames)
        with masked_as(own, learner, used.dataset):
            by_masks = embedded(learner, used.dataset, other, frames)
        for kind, fmri in (("", by_bold), (MASKS, by_masks)):
            for name, values in retrieval(own, clips | {"fmri": fmri}).items():
                found.setdefault(kind + name, []).append(values)
    means = {name: float(torch.cat(values).mean()) for name, values in found.items()}
    of_masks = {name.removeprefix(MASKS): value for name, value in means.items() if name.startswith(MASKS)}
    return means | overall(means) | {MASKS + name: value for name, value in overall(of_masks).items()}


@contextmanager
def masked_as(samples: np.ndarray, learner: Learner, dataset: Dataset) -> Iterator[None]:
    """Within it, the model sees as much of the surroundings of any windows as of those of ``samples``."""
    if (context := learner.context) is None:
        yield
        return
    around = context.surroundings
    context.surroundings = Elsewhere(around.of_samples(samples)[1], around.before, dataset.volumes)
    yield
    context.surroundings = around


def embedded(learner: Learner, dataset: Dataset, samples: np.ndarray, frames: int) -> torch.Tensor:
    """(n, dim) of samples' BOLD."""
    with Stream(BoldReader(dataset.path), frames, CPU).batches([(samples, None)], len(samples)) as batches:
        return learner.embed_fmri(samples, next(iter(batches)).stored)


def cell(store: Path, folder: Path, overrides: dict[str, Any]) -> Figures:
    """Train, and look at the best weights."""
    shutil.rmtree(folder, ignore_errors=True)
    simtrain.fit(store, folder, PRESET, overrides=overrides, progress=False)
    run, dataset = FitRun.open(folder), open_dataset(store)
    learner, used = load_learner(run, dataset, CPU), Windows.of(dataset, run.config)
    _, held_out = find_samples(used, run.config)
    found = validated(learner, used, draw(held_out, LOOKED_AT, 0), run.config)
    shutil.rmtree(folder)
    return found


def costs(store: Path, settings: dict[str, Any], names: list[str]) -> Figures:
    """Processor time of a step of each reach, as a multiple of the first's."""
    dataset = open_dataset(store)
    steps = {name: _steps(dataset, settings | REACHES[name]) for name in names}
    spent: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(STEPS):
        for name, step in steps.items():
            began = time.process_time()
            next(step)
            spent[name].append(time.process_time() - began)
    medians = {name: statistics.median(of[WARM:]) for name, of in spent.items()}
    return {name: median / medians[names[0]] for name, median in medians.items()}


def _steps(dataset: Dataset, overrides: dict[str, Any]) -> Any:
    """Does a step of training whenever it is asked, on the same batch, which is read once more each time."""
    config = resolve(simtrain.load_config(PRESET, overrides=overrides), dataset)
    used = Windows.of(dataset, config)
    samples, _ = find_samples(used, config)
    learner = Learner(config, dataset, used.embeddings)
    learner.stimuli.fit(used.clips)
    training = ContrastiveTraining(config, learner, used.clips)
    batch, _ = next(shuffled_batches(samples, config.train.batch_size, 0, Cursor()))
    while True:
        with Stream(BoldReader(dataset.path), config.data.frames, CPU).batches(
            [(batch, None)], len(batch)
        ) as read:
            training.update(Batch(batch, next(iter(read)).stored, Cursor()))
        yield


def table(cells: dict[str, list[Figures]], cost: Figures) -> str:
    """Markdown: mean and range over seeds, in percent, and how many seeds there are."""
    columns = {
        "retrieval": "retrieval",
        "new subjects, video": "new-subjects-top1-video",
        "new subjects, audio": "new-subjects-top1-audio",
        "new scenes, video": "new-scenes-top1-video",
        "new scenes, audio": "new-scenes-top1-audio",
        "masks alone": "masks-retrieval",
    }
    rows = []
    for name, seeds in cells.items():
        values = [_spread([figures[key] for figures in seeds if key in figures]) for key in columns.values()]
        ratio = f"{cost[name]:.2f}" if name in cost else "-"
        rows.append([name, *values, str(len(seeds)), ratio])
    return markdown(["BOLD seen", *columns, "seeds", "cost"], rows)


def _spread(values: list[float]) -> str:
    if not values:
        return "-"
    mean = f"{100 * statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ({100 * min(values):.1f} to {100 * max(values):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the cells")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--reaches", default=";".join(REACHES), help="of: " + "; ".join(REACHES))
    parser.add_argument(
        "--set", action="append", default=[], dest="settings", help="KEY=VALUE of all trainings"
    )
    parser.add_argument("--cost", action="store_true", help="also measure the cost of a step")
    parser.add_argument("--table", action="store_true", help="of what is there, without running")
    given = parser.parse_args()
    settings: dict[str, Any] = {"train.validation_samples": 512}
    settings |= {
        key: yaml.safe_load(value) for key, _, value in (one.partition("=") for one in given.settings)
    }
    names, cells = given.reaches.split(";"), {}
    for seed in map(int, given.seeds.split(",")):
        for name in names:
            file = given.out / f"{name.replace(', ', '-').replace(' ', '')}.{seed}.json"
            if file.exists() or not given.table:
                overrides = settings | REACHES[name] | {"train.seed": seed}
                work = partial(cell, given.store, given.out / "run", overrides)
                cells.setdefault(name, []).append(once(file, work))
    file = given.out / "cost.json"
    cost = once(file, partial(costs, given.store, settings, names)) if given.cost or file.exists() else {}
    print(table(cells, cost))


if __name__ == "__main__":
    main()
