"""Retrieval of new subjects in new scenes over minutes of adaptation, and how much of the gap it closes.

    OMP_NUM_THREADS=1 nice -n 10 python scripts/adaptation_curve.py STORE RUN [RUN ...] --out curve

For each run (such as of several seeds), each subject of the set and each number of minutes the run is adapted
(`simtrain adapt`) and tested in scenes of the set; 0 is the run as it is, and the gap is to its training
subjects in the same scenes. A test is kept as JSON in --out, and is not done again; curve.json has all, and
the table that is printed their means.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from pathlib import Path

from cells import markdown, once, spread

import simtrain
from simdata.common import json_text
from simtrain.data.dataset import Dataset
from simtrain.training.run_folder import FitRun

ALL = "all"
MINUTES = ("0", "0.5", "1", "2", "5", ALL)
DIRECTIONS = ("fmri->video", "fmri->audio")
TRAINING = "in training"  # in place of minutes: what training subjects have

Top1 = dict[str, float]  # direction -> percent
Rows = list[dict[str, str | Top1]]


def tested(run: Path, dataset: Dataset, split: str, experiment: str, subjects: list[str]) -> Top1:
    """Top-1 of the run's model with BOLD of these subjects; none: of all."""
    which = {"split": split, "experiment": experiment, "subjects": subjects}
    found = simtrain.retrieve(run, dataset, **which, save=False)
    top1 = found.metrics[found.metrics.figure == "top-1"].set_index("direction")["mean"]
    return {direction: 100 * float(top1[direction]) for direction in DIRECTIONS if direction in top1}


def adapted(run: Path, dataset: Dataset, split: str, subject: str, minutes: str, work: Path) -> Top1:
    """Top-1 of one subject behind so many minutes of adaptation."""
    if minutes == "0":
        return tested(run, dataset, split, "both", [subject])
    asked = None if minutes == ALL else float(minutes)
    made = simtrain.adapt(run, dataset, subject, work, minutes=asked)
    found = tested(made.path, dataset, split, "both", [])
    shutil.rmtree(work)
    return found


def curve(run: Path, dataset: Dataset, split: str, minutes: list[str], out: Path) -> Rows:
    """A row for each subject and number of minutes, and one for the training subjects."""
    cells, work = out / "cells", out / "adapted"
    shutil.rmtree(work, ignore_errors=True)
    of_training = once(
        cells / f"{split}.{run.name}.training.json", lambda: tested(run, dataset, split, "new-scenes", [])
    )
    rows: Rows = [{"run": run.name, "subject": "", "minutes": TRAINING, "top-1": of_training}]
    sets = FitRun.open(run).divided(dataset).identity["subjects"]
    for subject in [name for name, of in sets.items() if of == split]:
        for length in minutes:
            file = cells / f"{split}.{run.name}.{subject}.{length}.json"
            found = once(file, lambda s=subject, m=length: adapted(run, dataset, split, s, m, work))
            rows.append({"run": run.name, "subject": subject, "minutes": length, "top-1": found})
            print(run.name, subject, length, found, flush=True)
    return rows


def table(rows: Rows, minutes: list[str]) -> str:
    """Markdown: mean and s.d. over subjects and runs of each number of minutes, and the part of the gap."""
    head = ["minutes", *(title for one in DIRECTIONS for title in (f"{one}, top-1 %", "gap closed, %"))]
    found = []
    for length in [*minutes, TRAINING]:
        cells = [length]
        for direction in DIRECTIONS:
            values = {
                one: [row["top-1"][direction] for row in rows if row["minutes"] == one]
                for one in (minutes[0], length, TRAINING)
            }
            none, here, most = (statistics.mean(values[one]) for one in (minutes[0], length, TRAINING))
            closed = "" if none == most else f"{100 * (here - none) / (most - none):+.0f}"
            cells += [spread(values[length]), closed]
        found.append(cells)
    return markdown(head, found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--out", type=Path, required=True, help="folder of what was tested")
    parser.add_argument("--split", choices=("test", "val"), default="test", help="val: to choose by")
    parser.add_argument("--minutes", default=",".join(MINUTES), help="the first is what others compare with")
    given = parser.parse_args()
    dataset, minutes = simtrain.open_dataset(given.store), given.minutes.split(",")
    rows = [row for run in given.runs for row in curve(run, dataset, given.split, minutes, given.out)]
    json_text.write(given.out / "curve.json", rows)
    print(table(rows, minutes))


if __name__ == "__main__":
    main()
