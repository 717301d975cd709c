"""What the demo shows of the method: three modalities beside two, the baselines, and top-1 over lags.

Trains the demo's preset on a store of `simdata demo`, with each seed, on fMRI with video, with audio and with
both; tests every model by retrieval; fits the baselines on the same split, tested with the same pools; and
tests the first model at every lag. What is there already is not done again.

    python scripts/study_demo.py demo.zarr --out study --seeds 0,1,2
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from simdata.common import json_text

ARMS = {"fmri,video,audio": "all three", "fmri,video": "without audio", "fmri,audio": "without video"}
BASELINES = {"ridge": "ridge regression", "pca": "PCA and projectors"}
DIRECTIONS = ("fmri->video", "fmri->audio")
LAGS = "0:12"

Found = dict[str, dict[str, dict]]  # experiment, direction -> figures of retrieval.json


def simtrain(*arguments: object) -> None:
    words = [sys.executable, "-m", "simtrain", *map(str, arguments)]
    print("$ simtrain", *words[3:], file=sys.stderr)
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def trained(store: Path, out: Path, modalities: str, seed: int, settings: list[str]) -> Path:
    run = out / f"{modalities.replace(',', '-')}-{seed}"
    if not (run / "retrieval.json").exists():
        settings = [*settings, f"train.seed={seed}"]
        options = [word for setting in settings for word in ("--set", setting)]
        simtrain("fit", store, "--config", "demo", "--modalities", modalities, *options, "--out", run)
        simtrain("retrieve", run, store, "--lags", LAGS)
    return run


def found_in(folder: Path) -> Found:
    experiments = json.loads((folder / "retrieval.json").read_text())["experiments"]
    return {name: experiment["directions"] for name, experiment in experiments.items()}


def lag_curve(run: Path) -> dict[str, dict[int, float]]:
    """Top-1 at each lag of fMRI to each stimulus in new subjects."""
    rows = json.loads((run / "retrieval.json").read_text())["tables"]["lags"]
    rows = [row for row in rows if row["experiment"] == "new-subjects"]
    return {
        direction: {row["lag"]: row["top1"] for row in rows if row["direction"] == direction}
        for direction in DIRECTIONS
    }


def spread(values: list[float]) -> str:
    """Mean of percentages, and their s.d. if there are several."""
    shown = f"{100 * statistics.mean(values):.1f}"
    return f"{shown} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else shown


def table(results: dict[str, list[Found]]) -> str:
    """Markdown: a row for each way, top-1 of both directions in each experiment."""
    experiments = list(next(iter(results.values()))[0])
    columns = [(experiment, direction) for experiment in experiments for direction in DIRECTIONS]
    lines = ["| top-1 % | " + " | ".join(f"{e}, {d}" for e, d in columns) + " |"]
    lines.append("| --- |" + " --- |" * len(columns))
    for name, seeds in results.items():
        cells = []
        for experiment, direction in columns:
            tops = [one[experiment][direction]["top-1"] for one in seeds if direction in one[experiment]]
            cells.append(spread([top["mean"] for top in tops]) if tops else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def gains(results: dict[str, list[Found]]) -> dict[str, list[float]]:
    """Top-1 of all three modalities minus that of two, seed by seed."""
    found = {}
    for other, direction in (("without audio", "fmri->video"), ("without video", "fmri->audio")):
        for experiment in results[other][0]:
            pairs = zip(results["all three"], results[other], strict=True)
            found[f"{experiment}, {direction}"] = [
                both[experiment][direction]["top-1"]["mean"] - two[experiment][direction]["top-1"]["mean"]
                for both, two in pairs
            ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--seeds", type=lambda text: [int(word) for word in text.split(",")], default=[0, 1, 2]
    )
    parser.add_argument("--set", dest="settings", action="append", default=[], help="as for simtrain fit")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    runs = {
        name: [
            trained(options.store, options.out, modalities, seed, options.settings) for seed in options.seeds
        ]
        for modalities, name in ARMS.items()
    }
    results: dict[str, list[Found]] = {
        name: [found_in(run) for run in of_arm] for name, of_arm in runs.items()
    }
    baselines = options.out / "baselines"
    if not (baselines / "ceiling/retrieval.json").exists():
        simtrain("baseline", options.store, "--out", baselines, "--config", "demo", "--ico", 1)
    results |= {name: [found_in(baselines / kind)] for kind, name in BASELINES.items()}
    curves, gained = lag_curve(runs["all three"][0]), gains(results)
    ceiling = found_in(baselines / "ceiling")  # of other subjects' BOLD, in place of the film
    content = {"seeds": options.seeds, "results": results, "gains": gained, "lags": curves}
    content["ceiling"] = ceiling
    (options.out / "study.json").write_text(json_text.dumps(content, indent=2) + "\n")
    print(table(results))
    tops = {name: found["fmri->others"]["top-1"]["mean"] for name, found in ceiling.items()}
    print(f"\nceiling, top-1 %: {', '.join(f'{name} {100 * top:.1f}' for name, top in tops.items())}")
    print("\nall three minus two, top-1 points, by seed:")
    for name, values in gained.items():
        print(f"  {name}: {', '.join(f'{100 * value:+.1f}' for value in values)}")
    print("\ntop-1 % by lag, new subjects:")
    for direction, curve in curves.items():
        print(f"  {direction}: {', '.join(f'{lag} s {100 * top:.1f}' for lag, top in curve.items())}")


if __name__ == "__main__":
    main()
