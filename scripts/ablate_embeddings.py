"""What patch embeddings, attention, positions, patch size and components each add on the demo.

Every variant of the preset demo is trained with each seed and kept as JSON; what is there already is not done
again, so that a run that was stopped goes on. Variants are compared by validation retrieval at the best
validation, of new subjects and of new scenes apart, over all validation samples. What they reach on test sets
is in a table of its own, which nothing is chosen by.

    OMP_NUM_THREADS=1 nice -n 10 python scripts/ablate_embeddings.py demo.zarr --out ablation --seeds 0,1,2
    python scripts/ablate_embeddings.py demo.zarr --out ablation --only embeddings,attention
    python scripts/ablate_embeddings.py demo.zarr --out ablation --table      # of what is there
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cells import markdown, numbers, once, spread
from scipy.stats import t
from study_demo import DIRECTIONS, EXPERIMENTS, tested

import simtrain

PRESET = "demo"
GROUPS = ("new-subjects", "new-scenes")  # of validation

Settings = Mapping[str, Any]
Figures = dict[str, Any]  # of a cell, as JSON has them


def embedded(kind: str, **others: Any) -> Settings:
    """The published structure but for the patch embedding, and other keys of the model."""
    usual = {"patch_embedding": kind, "positions": "sincos", "ico": 1, "components": 12, "pool": "cls"}
    return {f"model.{key}": value for key, value in {**usual, **others}.items()}


def pooled(kind: str, **others: Any) -> Settings:
    """The mean of patch tokens without a class token, since that one has to attend."""
    return embedded(kind, pool="mean", class_token=False, **others)


VARIANTS: dict[str, dict[str, Settings]] = {
    "embeddings": {kind: embedded(kind) for kind in ("linear", "pca", "whitened", "per_patch")},
    "attention": {
        "pca, mean": pooled("pca"),
        "pca, mean, no attention": pooled("pca", attention=False),
        "linear, mean": pooled("linear"),
        "linear, mean, no attention": pooled("linear", attention=False),
    },
    "positions": {
        f"{kind}, {positions}": embedded(kind, positions=positions)
        for kind in ("pca", "linear")
        for positions in ("geometric", "learned")
    },
    "components": {f"pca of {number}": embedded("pca", components=number) for number in (4, 32)},
    "ico2": {f"{kind}, ico 2": embedded(kind, ico=2) for kind in ("pca", "linear")},
    "ico3": {f"{kind}, ico 3": embedded(kind, ico=3) for kind in ("pca", "linear")},
}

# What is added: with it, and without.
GAINS = {
    "a map for each patch": ("per_patch", "linear"),
    "whitening, one map": ("whitened", "linear"),
    "a map for each patch, whitened": ("pca", "whitened"),
    "both": ("pca", "linear"),
    "attention, pca": ("pca, mean", "pca, mean, no attention"),
    "attention, linear": ("linear, mean", "linear, mean, no attention"),
    "learned positions, pca": ("pca, learned", "pca"),
    "geometric positions, pca": ("pca, geometric", "pca"),
    "learned positions, linear": ("linear, learned", "linear"),
    "geometric positions, linear": ("linear, geometric", "linear"),
    "4 components in place of 12": ("pca of 4", "pca"),
    "32 components in place of 12": ("pca of 32", "pca"),
    "ico 2 in place of 1, pca": ("pca, ico 2", "pca"),
    "ico 2 in place of 1, linear": ("linear, ico 2", "linear"),
    "ico 3 in place of 1, pca": ("pca, ico 3", "pca"),
    "ico 3 in place of 1, linear": ("linear, ico 3", "linear"),
}


def cell_file(out: Path, variant: str, seed: int) -> Path:
    return out / f"{variant.replace(',', '').replace(' ', '-')}.{seed}.json"


def trained(store: Path, settings: Settings, seed: int) -> Figures:
    """What a variant reaches with a seed, in validation and on test sets, and the processor time it takes."""
    course = {
        "train.seed": seed,
        "train.validate_every": 100,
        "train.validation_samples": 100_000,
        "train.checkpoint_every": 1_000_000,
    }
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        run = simtrain.fit(store, folder, PRESET, overrides={**course, **settings}, progress=False)
        seconds = time.process_time() - started
        return {
            "validation": validated(run),
            "test": tested(simtrain.retrieve(run, store, save=False))["top-1"],
            "cpu_seconds": round(seconds, 1),
        }


def validated(run: simtrain.TrainedRun) -> Figures:
    """Retrieval at the best validation, its mean over stimuli in each group, and the step."""
    rows = run.metrics.dropna(subset=["val/retrieval"])
    best = rows.loc[rows["val/retrieval"].idxmax()]
    found = {"step": int(best["step"]), "retrieval": float(best["val/retrieval"])}
    for group in GROUPS:
        columns = [name for name in rows if name.startswith(f"val/{group}-top1-")]
        found[group] = float(best[columns].mean())
    return found


class Measure(NamedTuple):
    """A figure of a cell, in percent."""

    title: str
    path: tuple[str, ...]

    def of(self, cell: Figures) -> float:
        for key in self.path:
            cell = cell[key]
        return 100 * float(cell)  # type: ignore[arg-type]


VALIDATION = [Measure(name, ("validation", name)) for name in ("retrieval", *GROUPS)]
TEST = [
    Measure(f"{experiment}: {direction.partition('>')[2]}", ("test", experiment, direction))
    for experiment in EXPERIMENTS
    for direction in DIRECTIONS
]


def cells(out: Path, variant: str, seeds: Iterable[int]) -> dict[int, Figures]:
    """By seed, those that there are."""
    files = {seed: cell_file(out, variant, seed) for seed in seeds}
    return {seed: json.loads(file.read_text()) for seed, file in files.items() if file.exists()}


def levels(out: Path, seeds: Sequence[int], measures: Sequence[Measure]) -> str:
    """Mean ± s.d. over seeds of each variant."""
    rows = []
    for variant in (name for group in VARIANTS.values() for name in group):
        if found := cells(out, variant, seeds):
            values = [[measure.of(cell) for cell in found.values()] for measure in measures]
            rows.append([variant, *(spread(one) for one in values), str(len(found))])
    return markdown(["variant", *(measure.title for measure in measures), "seeds"], rows)


def gains(out: Path, seeds: Sequence[int], measures: Sequence[Measure]) -> str:
    """What each addition gains in points, paired over seeds, with a 95 % interval of their mean (by t)."""
    rows = []
    for name, (one, other) in GAINS.items():
        have, lack = cells(out, one, seeds), cells(out, other, seeds)
        if both := sorted(have.keys() & lack.keys()):
            differences = [[m.of(have[seed]) - m.of(lack[seed]) for seed in both] for m in measures]
            rows.append([name, *(interval(one) for one in differences), str(len(both))])
    return markdown(["what is added", *(measure.title for measure in measures), "seeds"], rows)


def interval(values: Sequence[float]) -> str:
    mean = statistics.mean(values)
    if len(values) == 1:
        return f"{mean:+.1f}"
    reach = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:+.1f} ({mean - reach:+.1f} to {mean + reach:+.1f})"


def report(out: Path, seeds: Sequence[int]) -> str:
    return "\n\n".join(
        [
            "Validation retrieval, top-1 % (mean ± s.d. of seeds):",
            levels(out, seeds, VALIDATION),
            "What each adds, points, paired over seeds (95 % interval of the mean over seeds):",
            gains(out, seeds, VALIDATION),
            "Test sets, top-1 %, from fMRI; nothing is chosen by them:",
            levels(out, seeds, TEST),
        ]
    )


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, default=Path("ablation"))
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2])
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(VARIANTS))
    parser.add_argument("--table", action="store_true", help="of what is there, without training")
    options = parser.parse_args(words)
    for group in () if options.table else options.only:
        for seed in options.seeds:
            for variant, settings in VARIANTS[group].items():
                file = cell_file(options.out, variant, seed)
                once(file, partial(trained, options.store, settings, seed))
    print(report(options.out, options.seeds))


if __name__ == "__main__":
    main()
