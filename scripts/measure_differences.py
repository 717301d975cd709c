"""What each change of the configuration to the published one does on the demo, as a markdown table.

Every row of docs/published.md that is a change of configuration is trained alone, with each seed, by the
preset demo with the published patch embedding, and compared with that; the weights of the last step are
tested. The store's own test set is not touched: of its training and validation subjects three are tested, on
training scenes. What is there already is not done again.

    OMP_NUM_THREADS=1 nice python scripts/measure_differences.py demo.zarr --out differences --seeds 0,1
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import simtrain
from simtrain.data.dataset import SPLITS, open_dataset

EXPERIMENT = "new-subjects"
DIRECTIONS = ("fmri->video", "fmri->audio")
TESTED = 3  # subjects

Settings = dict[str, Any]

LOSS = {"loss.kind": "published"}
OVERLAPS = {"loss.overlaps": "negatives"}
CONSTANT = {"train.schedule": "constant", "train.warmup": 0}
NO_CLIPPING = {"train.clip_norm": None}
ALL_DECAY = {"train.decayed": "all"}
DEMEANED = {"data.normalise": "vertex-demean"}
TESTED_BY_FRAME = {**DEMEANED, "data.test_normalise": "vertex-demean+frame-zscore"}
RAW = {"data.features": "raw"}
ANY = {"data.moments": "any"}
CHANGES: dict[str, Settings] = {
    "loss": LOSS,
    "overlapping windows": OVERLAPS,
    "schedule": CONSTANT,
    "clipping": NO_CLIPPING,
    "weight decay": ALL_DECAY,
    "BOLD in training and validation": DEMEANED,
    "BOLD in testing": TESTED_BY_FRAME,
    "stimulus features": RAW,
    "moments, whole clips": ANY,
    "moments, halves of clips": {"data.moments": "shown"},
    "patches, one icosphere finer": {"model.ico": 2},
    "frames one after another": {"model.temporal": "concat"},
    "batch of 4, as many steps": {"train.batch_size": 4},
    "all of the above but patches, frames, batch and halves": {
        **LOSS,
        **OVERLAPS,
        **CONSTANT,
        **NO_CLIPPING,
        **ALL_DECAY,
        **TESTED_BY_FRAME,
        **RAW,
        **ANY,
    },
}


class Effect(NamedTuple):
    """Top-1 in one direction with a change, and less that without it, as shares.

    ``low`` and ``high`` bound all seeds' 95 % intervals, None where there are too few subjects or clips.
    """

    top1: float
    difference: float
    low: float | None
    high: float | None


def subjects_apart(store: Path) -> dict[str, Any]:
    """Splits: validation subjects and the last of training are tested, test subjects are in no set."""
    dataset = open_dataset(store)
    names = {split: [] for split in SPLITS}
    for subject, split in zip(dataset.subjects, dataset.subject_split, strict=True):
        names[SPLITS[split]].append(subject)
    kept = len(names["train"]) - (TESTED - len(names["val"]))
    tested = names["val"] + names["train"][kept:]
    return {"subjects": {"train": names["train"][:kept], "val": [], "test": tested}}


def tested(store: Path, out: Path, name: str, settings: Settings, seed: int, splits: dict[str, Any]) -> Path:
    """The folder of a run with these settings, trained and tested."""
    run = out / f"{name.replace(' ', '-').replace(',', '')}.{seed}"
    if not (run / "retrieval.json").exists():
        print(run, file=sys.stderr, flush=True)
        # The published one, which the preset does not have.
        structure = {"model.patch_embedding": "linear", "model.positions": "sincos"}
        overrides = {**structure, **settings, "train.seed": seed, "train.best_by": None}
        simtrain.fit(store, run, "demo", overrides=overrides, splits=splits, progress=False)
        simtrain.retrieve(run, store, experiment=EXPERIMENT)
    return run


def effects(changed: Sequence[Path], usual: Sequence[Path]) -> dict[str, Effect]:
    """Of each direction, over seeds."""
    found: dict[str, list[Any]] = {direction: [] for direction in DIRECTIONS}
    for one, other in zip(changed, usual, strict=True):
        for row in simtrain.compare(one, other, experiment=EXPERIMENT).differences:
            if row.figure == "top-1" and row.direction in found:
                found[row.direction].append(row)
    return {
        direction: Effect(
            statistics.mean(row.one for row in rows),
            statistics.mean(row.difference for row in rows),
            min((row.low for row in rows if row.low is not None), default=None),
            max((row.high for row in rows if row.high is not None), default=None),
        )
        for direction, rows in found.items()
    }


def table(rows: dict[str, dict[str, Effect]]) -> str:
    """Markdown: a row for each change, and of each direction top-1 and the difference with its bounds."""
    heads = [
        f"{direction}: {what}" for direction in DIRECTIONS for what in ("top-1 %", "difference (points)")
    ]
    lines = [["as published", *heads], ["---"] * (1 + len(heads))]
    for name, of_row in rows.items():
        cells = [name]
        for direction in DIRECTIONS:
            top1, difference, low, high = of_row[direction]
            bounds = "" if low is None or high is None else f" ({100 * low:+.1f} to {100 * high:+.1f})"
            cells += [f"{100 * top1:.1f}", f"{100 * difference:+.1f}{bounds}"]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, default=Path("differences"))
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0, 1])
    parser.add_argument("--changes", type=lambda text: text.split(";"), default=list(CHANGES))
    options = parser.parse_args(words)
    splits = subjects_apart(options.store)

    def runs(name: str, settings: Settings) -> list[Path]:
        return [tested(options.store, options.out, name, settings, seed, splits) for seed in options.seeds]

    usual = runs("usual", {})
    rows = {name: effects(runs(name, CHANGES[name]), usual) for name in options.changes}
    print(table({"(none)": effects(usual, usual), **rows}))


if __name__ == "__main__":
    main()
