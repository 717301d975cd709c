"""What each option of training does to validation's retrieval on the demo, as a markdown table.

Every option is trained alone, with each seed, for 100 steps by the preset demo, and compared with the preset
as it is, seed by seed: the weights of the last step, in all of validation. Two subjects and two film clips of
the store's training and validation sets validate; what belongs to its test sets is in no set here.

A cell, one training, is a JSON file below --out, and is not worked out again. The cells of a seed start from
one encoder, made by a step that changes nothing, so that a patch embedding is fitted once for all of them.

    OMP_NUM_THREADS=1 nice python scripts/measure_options.py demo.zarr --out options --seeds 0,1,2
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cells import markdown, numbers, once

import simtrain
from simtrain.data.dataset import SPLITS, open_dataset

Settings = dict[str, Any]
Cell = dict[str, float]

FIGURES = (
    "retrieval",
    "new-subjects-top1-video",
    "new-subjects-top1-audio",
    "new-scenes-top1-video",
    "new-scenes-top1-audio",
)
VALIDATE = ("lambda", "gamma")  # film clips of the demo that its own sets train or validate
TESTED = ("beta", "zeta", "theta")
STEPS = 100
ALL = 10**6  # samples of validation
USUAL = "(none)"
OPTIONS: dict[str, Settings] = {
    USUAL: {},
    "drop_path 0.1": {"model.drop_path": 0.1},
    "stimulus_dropout 0.2": {"projector.stimulus_dropout": 0.2},
    "modality_dropout 0.2": {"loss.modality_dropout": 0.2},
    "balance subjects+clips": {"train.balance": "subjects+clips"},
    "beta2 0.95": {"train.beta2": 0.95},
}


class Effect(NamedTuple):
    """Of a figure, as shares: its mean over seeds, and of the differences mean, least and largest."""

    mean: float
    difference: float
    low: float
    high: float


def apart(store: Path) -> dict[str, Any]:
    """Splits in which nothing of the store's test sets is trained on or validates."""
    dataset = open_dataset(store)
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    for subject, split in zip(dataset.subjects, dataset.subject_split, strict=True):
        names[SPLITS[split]].append(subject)
    train, last = names["train"][:-1], names["train"][-1]
    return {
        "subjects": {"train": train, "val": [last, *names["val"]], "test": names["test"]},
        "scenes": {"clips": {"val": [*VALIDATE], "test": [*TESTED]}},
    }


def begun(store: Path, out: Path, embedding: str, seed: int, splits: dict[str, Any]) -> Path:
    """A run whose encoder is that of a new one: random weights, and a fitted patch embedding."""
    run = out / f"{embedding}.begun.{seed}"
    overrides = {"model.patch_embedding": embedding, "train.seed": seed, "train.steps": 1}
    still = {"train.learning_rate": 1e-30, "train.best_by": None, "train.validation_samples": 2}
    simtrain.fit(store, run, "demo", overrides=overrides | still, splits=splits, progress=False)
    return run


def trained(store: Path, settings: Settings, seed: int, splits: dict[str, Any]) -> Cell:
    """The figures of a training."""
    overrides = {
        **settings,
        "train.seed": seed,
        "train.steps": STEPS,
        "train.best_by": None,
        "train.validation_samples": ALL,
        "train.validate_every": ALL,
    }
    with tempfile.TemporaryDirectory() as folder:
        run = simtrain.fit(
            store, Path(folder) / "run", "demo", overrides=overrides, splits=splits, progress=False
        )
        last = run.metrics.dropna(subset=["val/loss"]).iloc[-1]
    return {figure: float(last[f"val/{figure}"]) for figure in FIGURES}


def effects(changed: Sequence[Cell], usual: Sequence[Cell]) -> dict[str, Effect]:
    """Of each figure, over seeds."""
    found = {}
    for figure in FIGURES:
        differences = [one[figure] - other[figure] for one, other in zip(changed, usual, strict=True)]
        mean = statistics.mean(one[figure] for one in changed)
        found[figure] = Effect(mean, statistics.mean(differences), min(differences), max(differences))
    return found


def table(rows: dict[str, dict[str, Effect]]) -> str:
    """Markdown: a row for each option, and of each figure its difference in points, and of all seeds."""
    lines = []
    for name, of_row in rows.items():
        points = [[100 * value for value in of_row[figure]] for figure in FIGURES]
        usual = name == USUAL
        cells = [
            f"{mean:.1f} %" if usual else f"{difference:+.1f} ({low:+.1f} to {high:+.1f})"
            for mean, difference, low, high in points
        ]
        lines.append([name, *cells])
    return markdown(["option", *FIGURES], lines)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, default=Path("options"))
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2])
    parser.add_argument("--options", type=lambda text: text.split(";"), default=list(OPTIONS))
    parser.add_argument("--patch-embedding", default="pca")
    asked = parser.parse_args(words)
    asked.out.mkdir(parents=True, exist_ok=True)
    splits, names = apart(asked.store), list(dict.fromkeys([USUAL, *asked.options]))
    cells: dict[str, list[Cell]] = {name: [] for name in names}
    for seed in asked.seeds:
        first = begun(asked.store, asked.out, asked.patch_embedding, seed, splits)
        for name in names:
            file = asked.out / f"{asked.patch_embedding}.{name.replace(' ', '-')}.{seed}.json"
            start = {"model.patch_embedding": asked.patch_embedding, "model.init": str(first)}
            settings = start | OPTIONS[name]
            cells[name].append(once(file, partial(trained, asked.store, settings, seed, splits)))
    print(table({name: effects(found, cells[USUAL]) for name, found in cells.items()}))


if __name__ == "__main__":
    main()
