"""Which property of the data makes which method better: the study's miniature with properties on and off.

For each seed and condition (properties turned off) a miniature is written and built into a store, models and
baselines are trained on it and tested, and the store is removed. The seed is that of the data and of the
training. Each cell is kept as JSON, and what is there already is not done again. A claim is that one method
gains on another where a property is on, more than where it is off; its sign was written before any run.

    OMP_NUM_THREADS=1 nice -n 10 python scripts/study_demo.py --out study --seeds 0,1,2
    python scripts/study_demo.py --out study --only warp            # the cells that one claim needs
    python scripts/study_demo.py --out study --table                # of what is there, without running
    python scripts/study_demo.py --out study --record docs/study.json   # from that file on; keeps all in it

Nothing is chosen by test sets: of the two transformers, each seed takes the one of the better validation
retrieval, and a run its best checkpoint by the same.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cells import markdown, numbers, once, spread
from linear_reference import errors
from scipy.stats import t

import simdata
import simtrain
from simdata.common import json_text
from simdata.synthetic import write_demo
from simtrain.training.run_folder import PretrainRun

DIRECTIONS = ("fmri->video", "fmri->audio")
EXPERIMENTS = ("new-subjects", "new-scenes", "both")
JUDGED = EXPERIMENTS[0]  # what a verdict goes by
PRESET = "demo"  # of simtrain
BOTH = "fmri,video,audio"
COMPLETE = ()  # the condition in which every property is on

Figures = dict[str, Any]  # of a cell, as JSON has them


class Options(NamedTuple):
    """Sizes, which a quick look makes smaller."""

    out: Path
    subjects: int | None
    steps: int
    keep: bool


def tested(found: Any) -> Figures:
    """Top-1 of each experiment and direction, as shares."""
    rows = found.metrics[found.metrics.figure == "top-1"]
    found_in: dict[str, dict[str, float]] = {}
    for row in rows[rows.direction.isin(DIRECTIONS)].to_dict("records"):
        found_in.setdefault(row["experiment"], {})[row["direction"]] = row["mean"]
    return {"top-1": found_in}


def sim(modalities: str, embedding: str) -> Callable[[Path, Path, int, int], Figures]:
    """A cell of SIM with these modalities and this patch embedding."""

    def run(store: Path, out: Path, seed: int, steps: int) -> Figures:
        overrides = {"train.seed": seed, "train.steps": steps, "model.patch_embedding": embedding}
        trained = simtrain.fit(store, out, PRESET, overrides=overrides, modalities=modalities, progress=False)
        validated = trained.metrics["val/retrieval"].max()
        return {"validation": float(validated), **tested(simtrain.retrieve(trained, store, save=False))}

    return run


def baseline(kind: str) -> Callable[[Path, Path, int, int], Figures]:
    """A cell of a baseline; PCA's projectors train as long as SIM does."""

    def run(store: Path, out: Path, seed: int, steps: int) -> Figures:
        overrides = {"train.seed": seed, "train.steps": steps}
        found = simtrain.baseline(store, out, kind, config=PRESET, overrides=overrides, ico=1)
        return tested(found[kind])

    return run


def pretraining(store: Path, out: Path, seed: int, steps: int) -> Figures:
    """A cell of the masked autoencoder: its error, that of 0, and of its linear reference."""
    overrides = {"train.seed": seed, "train.steps": steps}
    simtrain.pretrain(store, out, PRESET, overrides=overrides, progress=False)
    return {"error": errors(PretrainRun.open(out), simtrain.open_dataset(store))}


MODELS: dict[str, Callable[[Path, Path, int, int], Figures]] = {
    "linear": sim(BOTH, "linear"),
    "pca-patches": sim(BOTH, "pca"),
    "video-alone": sim("fmri,video", "pca"),
    "audio-alone": sim("fmri,audio", "pca"),
    "pca": baseline("pca"),
    "ridge": baseline("ridge"),
    "pretraining": pretraining,
}

Cells = dict[str, Figures]  # figures by model, or by the name of a cell


def top1(figures: Figures, experiment: str, directions: Collection[str] = DIRECTIONS) -> float:
    """Mean of the directions, in points."""
    return 100 * statistics.mean(figures["top-1"][experiment][direction] for direction in directions)


def transformer(cells: Cells, experiment: str) -> float:
    """Top-1 of the transformer that validation prefers."""
    best = max(("linear", "pca-patches"), key=lambda name: cells[name]["validation"])
    return top1(cells[best], experiment)


def over(name: str) -> Callable[[Cells, str], float]:
    """By how many points the transformer is above a baseline."""
    return lambda cells, experiment: transformer(cells, experiment) - top1(cells[name], experiment)


def three_over_two(cells: Cells, experiment: str) -> float:
    """By how many points three modalities are above two, over the directions that both have."""
    two = {"fmri->video": "video-alone", "fmri->audio": "audio-alone"}
    return statistics.mean(
        top1(cells["pca-patches"], experiment, [direction]) - top1(cells[name], experiment, [direction])
        for direction, name in two.items()
    )


def below_reference(cells: Cells, experiment: str) -> float:
    """By how many percent of the error of 0 pretraining is below its linear reference."""
    error = cells["pretraining"]["error"]
    return 100 * (error["linear"] - error["model"]) / error["zero"]


class Claim(NamedTuple):
    """A property, what should gain by it, the measure of the gain, and the models that it needs.

    ``absolute``: the measure itself is expected above 0 where the property is on; else it is expected to be
    larger there than where the property is off.
    """

    property: str
    expected: str
    measure: Callable[[Cells, str], float]
    models: tuple[str, ...]
    absolute: bool = False
    experiments: tuple[str, ...] = EXPERIMENTS


CLAIMS = {
    claim.property: claim
    for claim in (
        # Pretraining has one set of held-out windows, and no experiments.
        Claim(
            "smooth",
            "pretraining below its linear reference",
            below_reference,
            ("pretraining",),
            absolute=True,
            experiments=(JUDGED,),
        ),
        Claim("warp", "transformer over PCA", over("pca"), ("linear", "pca-patches", "pca")),
        Claim(
            "shared-categories",
            "three modalities over two",
            three_over_two,
            ("pca-patches", "video-alone", "audio-alone"),
        ),
        Claim("conjunctive", "transformer over ridge", over("ridge"), ("linear", "pca-patches", "ridge")),
    )
}


def condition_name(without: Collection[str]) -> str:
    return f"without-{'-'.join(without)}" if without else "complete"


def needed(only: Collection[str]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Condition -> models, of the claims; with all properties off every claim is tested too."""
    found: dict[tuple[str, ...], dict[str, None]] = {}
    for name in only:
        for without in (COMPLETE, (name,), ("all",)):
            found.setdefault(without, {}).update(dict.fromkeys(CLAIMS[name].models))
    return {without: tuple(models) for without, models in found.items()}


def cell_name(without: Collection[str], seed: int, model: str) -> str:
    return f"{condition_name(without)}.{model}.{seed}"


def cell_file(out: Path, without: Collection[str], seed: int, model: str) -> Path:
    return out / "cells" / f"{cell_name(without, seed, model)}.json"


def run_condition(without: tuple[str, ...], models: Collection[str], seed: int, options: Options) -> None:
    """Do what is missing of a condition with a seed."""
    missing = [m for m in models if not cell_file(options.out, without, seed, m).exists()]
    if not missing:
        return
    place = options.out / f"{condition_name(without)}.{seed}"
    store = built(without, seed, place, options)
    for model in missing:
        work = partial(timed, MODELS[model], store, place / model, seed, options.steps)
        once(cell_file(options.out, without, seed, model), work)
    if not options.keep:
        shutil.rmtree(place)


def timed(
    model: Callable[[Path, Path, int, int], Figures], store: Path, out: Path, seed: int, steps: int
) -> Figures:
    """A cell with the seconds that it took."""
    started = time.monotonic()
    figures = model(store, out, seed, steps)
    return figures | {"seconds": round(time.monotonic() - started)}


def built(without: tuple[str, ...], seed: int, place: Path, options: Options) -> Path:
    """The store of a condition; its release is removed."""
    store, release = place / "study.zarr", place / "release"
    if (place / "built.json").exists():
        return store
    print(f"{place.name}: writing and building", file=sys.stderr, flush=True)
    started = time.monotonic()
    for half_done in (release, store):
        shutil.rmtree(half_done, ignore_errors=True)
    write_demo(release, kind="study", without=without, subjects=options.subjects, seed=seed)
    simdata.build("demo-study", source=release / "hcp", movies=release / "movies", out=store)
    shutil.rmtree(release)
    json_text.write(place / "built.json", {"seconds": round(time.monotonic() - started)})
    return store


def recorded(out: Path) -> dict[str, Any]:
    """The sizes and all cells, by name, of a folder of cells."""
    cells = {file.stem: json.loads(file.read_text()) for file in sorted((out / "cells").glob("*.json"))}
    return {"sizes": json.loads((out / "sizes.json").read_text()), "cells": cells}


def take_up(record: Path, out: Path) -> None:
    """Put the cells that a file has kept into a folder of cells of the same sizes."""
    kept = json.loads(record.read_text())
    same_sizes(out, kept["sizes"])
    for name, figures in kept["cells"].items():
        json_text.write(out / "cells" / f"{name}.json", figures)


def same_sizes(out: Path, sizes: dict[str, int | None]) -> None:
    """Cells of other sizes do not compare: a folder has one."""
    file = out / "sizes.json"
    if file.exists() and (there := json.loads(file.read_text())) != sizes:
        sys.exit(f"{out} has cells of {there}, and {sizes} are asked for: give another --out")
    json_text.write(file, sizes)


def cells_of(there: Cells, without: Collection[str], seed: int, models: Collection[str]) -> Cells | None:
    """Model -> cell of a condition and seed, None if one is missing."""
    names = {model: cell_name(without, seed, model) for model in models}
    return {m: there[name] for m, name in names.items()} if there.keys() >= set(names.values()) else None


def differences(
    there: Cells, claim: Claim, experiment: str, seeds: Collection[int]
) -> list[dict[str, float]]:
    """Of each seed that is there: the measure with the property, without it, and with all off."""
    found = []
    for seed in seeds:
        parts = {
            "on": cells_of(there, COMPLETE, seed, claim.models),
            "off": cells_of(there, (claim.property,), seed, claim.models),
            "all off": cells_of(there, ("all",), seed, claim.models),
        }
        whole = {name: cells for name, cells in parts.items() if cells is not None}
        if len(whole) == len(parts):
            found.append({name: claim.measure(cells, experiment) for name, cells in whole.items()})
    return found


def verdict(values: list[float]) -> str:
    """ "gain" or "loss" if the 95 % interval of the mean over seeds (Student's) leaves out 0, else "open"."""
    if len(values) < 3:
        return f"open ({len(values)} of 3 seeds)"
    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.mean(values)
    if abs(mean) <= half:
        return "open"
    return "gain" if mean > 0 else "loss"


HEAD = ["property", "expected", "experiment", "on", "off", "on - off", "verdict", "all off", "verdict on it"]


def verdicts(there: Cells, only: Collection[str], seeds: Collection[int]) -> str:
    """Markdown: what was expected and what was found of each claim, and of the same with all off."""
    rows = []
    for name in only:
        claim = CLAIMS[name]
        for experiment in claim.experiments:
            row = [name, claim.expected, experiment]
            if found := differences(there, claim, experiment, seeds):
                row += _found(claim, found, judged=experiment == JUDGED)
            rows.append([*row, *["not run"] * (len(HEAD) - len(row))])
    return markdown(HEAD, rows)


def levels(there: Cells, seeds: Collection[int]) -> str:
    """Markdown: what each model reaches in each condition, mean of directions, ± s.d. of seeds."""
    rows = []
    for without, models in needed(list(CLAIMS)).items():
        for model in models:
            found = [there[name] for s in seeds if (name := cell_name(without, s, model)) in there]
            if found and "top-1" in found[0]:
                reached = [spread([_mean(cell, experiment) for cell in found]) for experiment in EXPERIMENTS]
                rows.append([condition_name(without), model, *reached])
    return markdown(["condition", "model", *EXPERIMENTS], rows)


def _mean(cell: Figures, experiment: str) -> float:
    return top1(cell, experiment, cell["top-1"][experiment])


def report(there: Cells, only: Collection[str], seeds: Collection[int]) -> str:
    """What the study says."""
    return "\n".join(
        [
            verdicts(there, only, seeds),
            "",
            "Points of top-1, mean of directions (smooth: % of the error of 0); mean ± s.d. of seeds.",
            f"Expected are gains in {JUDGED}, and none with all off.",
            "",
            levels(there, seeds),
        ]
    )


def _found(claim: Claim, found: list[dict[str, float]], judged: bool) -> list[str]:
    on, off, without_all = ([one[key] for one in found] for key in ("on", "off", "all off"))
    gained = [one - other for one, other in zip(on, off, strict=True)]
    said, said_of_none = verdict(on if claim.absolute else gained), verdict(without_all)
    if not judged:
        said = said_of_none = ""
    shown = [spread(values, sign="+") for values in (on, off, gained, without_all)]
    return [*shown[:3], said, shown[3], said_of_none]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of cells, large while it runs")
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2])
    parser.add_argument("--only", action="append", choices=CLAIMS, help="a claim; may be repeated")
    parser.add_argument("--cell", metavar="MODEL", choices=MODELS, help="this model alone, complete data")
    parser.add_argument("--table", action="store_true", help="print what is there, and run nothing")
    parser.add_argument("--record", type=Path, metavar="FILE", help="one file of all cells, which is kept")
    parser.add_argument("--subjects", type=int, help="of a miniature (default: 20)")
    parser.add_argument("--steps", type=int, default=400, help="of training")
    parser.add_argument("--keep", action="store_true", help="keep stores and runs, 2.5 GB each")
    given = parser.parse_args()
    options = Options(given.out, given.subjects, given.steps, given.keep)
    only = given.only or list(CLAIMS)
    conditions = {COMPLETE: (given.cell,)} if given.cell else needed(only)
    (given.out / "cells").mkdir(parents=True, exist_ok=True)
    if given.record and given.record.exists():
        take_up(given.record, given.out)
    if not given.table:
        same_sizes(given.out, {"subjects": given.subjects, "steps": given.steps})
        for seed in given.seeds:
            for without, models in conditions.items():
                run_condition(without, models, seed, options)
    study = recorded(given.out)
    if given.record:
        json_text.write(given.record, study)
    print(report(study["cells"], only, given.seeds))


if __name__ == "__main__":
    main()
