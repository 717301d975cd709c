"""What pretraining comes to: its error in validation, and the retrieval of models that start from it.

The masked autoencoder is pretrained on the BOLD of all training subjects. Its error over what no visible
patch shows is told beside that of predicting 0 and of a linear prediction (scripts/linear_reference.py).
Models are then trained on a few of these subjects, as if the others had seen no film: from random weights,
and from the pretrained encoder, with the same seeds. What counts is validation's retrieval; the store's
test sets are in nothing here. Each training is a run folder and each cell a JSON file below --out; what is
there is not done again.

    OMP_NUM_THREADS=1 nice python scripts/measure_pretraining.py demo.zarr --out pretraining --seeds 0,1,2
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cells import markdown, numbers, once, spread
from linear_reference import errors

import simtrain
from simtrain.data.dataset import SPLITS, open_dataset
from simtrain.training.run_folder import PretrainRun

PRESET = "demo"
Cell = dict[str, float]


def pretrained(store: Path, out: Path, seed: int) -> Path:
    """The run of a seed, of all training subjects."""
    run = out / f"pretrained.{seed}"
    simtrain.pretrain(store, run, PRESET, overrides={"train.seed": seed}, progress=False)
    return run


def error_of(store: Path, out: Path, seed: int) -> Cell:
    """Of the pretrained model, of 0 and of the linear prediction, over what was unseen."""
    run = pretrained(store, out, seed)
    return errors(PretrainRun.open(run), open_dataset(store))


def retrieval_of(store: Path, out: Path, labelled: int, start: str, seed: int) -> Cell:
    """Validation's retrieval of a model of so many subjects, at its best step."""
    overrides: dict[str, Any] = {"train.seed": seed}
    if start == "pretrained":
        overrides["model.init"] = str(pretrained(store, out, seed))
    run = simtrain.fit(
        store,
        out / f"{labelled}.{start}.{seed}",
        PRESET,
        overrides=overrides,
        splits=of_few(store, labelled),
        progress=False,
    )
    validated = run.metrics.dropna(subset=["val/retrieval"])
    best = validated.loc[validated["val/retrieval"].idxmax()]
    return {name: float(best[name]) for name in validated if name.startswith("val/") and "top1" in name}


def of_few(store: Path, labelled: int) -> dict[str, Any]:
    """The store's sets, with that many training subjects."""
    dataset = open_dataset(store)
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    for subject, split in zip(dataset.subjects, dataset.subject_split, strict=True):
        names[SPLITS[split]].append(subject)
    return {"subjects": {"train": names["train"][:labelled], "val": names["val"], "test": names["test"]}}


def error_line(cells: Sequence[Cell]) -> str:
    """Errors as shares of that of 0."""
    model, linear = ([cell[name] / cell["zero"] for cell in cells] for name in ("model", "linear"))
    return f"error, of that of 0: pretrained {spread(model, 4)}, linear prediction {spread(linear, 4)}"


def table(cells: dict[tuple[int, str], list[Cell]]) -> str:
    """Markdown: top-1 % in validation by subjects and start, mean ± s.d. of seeds."""
    figures = list(next(iter(cells.values()))[0])
    lines = []
    for (labelled, start), found in cells.items():
        points = [spread([100 * cell[name] for cell in found]) for name in figures]
        lines.append([str(labelled), start, *points])
    return markdown(["subjects", "start", *(name.removeprefix("val/") for name in figures)], lines)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2])
    parser.add_argument(
        "--subjects", type=numbers, default=[1, 2, 4], help="how many are labelled, in one table"
    )
    asked = parser.parse_args(words)
    store, out, seeds = asked.store, asked.out, asked.seeds
    of_seeds = [once(out / f"error.{seed}.json", partial(error_of, store, out, seed)) for seed in seeds]
    print(error_line(of_seeds), flush=True)
    cells = {
        (labelled, start): [
            once(
                out / f"{labelled}.{start}.{seed}.json",
                partial(retrieval_of, store, out, labelled, start, seed),
            )
            for seed in seeds
        ]
        for labelled in asked.subjects
        for start in ("random", "pretrained")
    }
    print(table(cells))


if __name__ == "__main__":
    main()
