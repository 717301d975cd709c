"""Scores of reconstruction as a table on the terminal, as CSV and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console

from simdata.common import json_text
from simtrain.data.dataset import Dataset
from simtrain.data.film_frames import describe_frames
from simtrain.reconstruction.experiment import ReconstructionResult, Reconstructor
from simtrain.reconstruction.identification import Outcome
from simtrain.reconstruction.lookup import WITHOUT_BOLD
from simtrain.retrieval.intervals import CONFIDENCE, FEWEST, Crossed
from simtrain.retrieval.report import narrow_table
from simtrain.retrieval.scores import SHIFTS
from simtrain.retrieval.tables import Row, labels

TABLES = ("scores", "subjects", "clips", "windows")


def show(results: Mapping[str, ReconstructionResult], made: Reconstructor, console: Console) -> None:
    """Print a table for each experiment: intervals are below what depends on BOLD."""
    for name, result in results.items():
        sizes = "-".join(map(str, dict.fromkeys(result.gallery)))
        table = narrow_table(f"{name}: {made.settings}, {sizes} clips", _caption(made))
        for column in ("score", "from"):
            table.add_column(column, no_wrap=True)
        for column in ("mean", "chance", "p", "two-way %", "p"):
            table.add_column(column, justify="right", no_wrap=True)
        last = None
        for row in summary(name, result):
            if row["score"] != last and last is not None:
                table.add_section()
            marked = row["score"].removeprefix("video_") + "*" * (row["score"] == made.trained_on)
            table.add_row("" if row["score"] == last else marked, row["from"], *_cells(row))
            last = row["score"]
        console.print(table)


def tables(results: Mapping[str, ReconstructionResult], dataset: Dataset) -> dict[str, list[Row]]:
    """Rows of every table of ``TABLES``; two-way identification as a share."""
    rows: dict[str, list[Row]] = {name: [] for name in TABLES}
    for name, result in results.items():
        subject, movie, scene = labels(result.windows, dataset)
        rows["scores"] += summary(name, result)
        rows["subjects"] += _grouped(name, {"subject": subject}, result)
        rows["clips"] += _grouped(name, {"movie": movie, "clip": scene}, result)
        of_each = {"subject": subject, "movie": movie, "clip": scene}
        rows["windows"] += _each(name, of_each, dataset.movies, result)
    return rows


def write(
    path: Path,
    rows: Mapping[str, list[Row]],
    results: Mapping[str, ReconstructionResult],
    made: Reconstructor,
    dataset: Dataset,
) -> None:
    """All figures as JSON, but for those of single windows, which are left to CSV."""
    linear = made.linear and {"penalty": made.linear.penalty, "r2_validation": made.linear.r2}
    content = {
        "settings": {
            **asdict(made.settings),
            "shifts": SHIFTS,
            "confidence": CONFIDENCE,
        },
        "temperature": made.temperature,
        "trained_on": made.trained_on,
        "frame": f"{made.moment} s after the clip begins: {describe_frames(dataset)}",
        "linear_map": linear or None,
        "experiments": {
            name: {
                "windows": len(result.windows),
                "subjects": len(np.unique(result.windows["subject"])),
                "gallery": list(result.gallery),
            }
            for name, result in results.items()
        },
        "tables": {name: table for name, table in rows.items() if name != "windows"},
    }
    json_text.write(path, content)


def summary(experiment: str, result: ReconstructionResult) -> list[Row]:
    """One row for each score and each maker: means over windows, with their intervals."""
    rows = []
    # By score, and in it as they were made; pixels first.
    for score in dict.fromkeys(score for _, score in result.scores):
        for maker in (maker for maker, name in result.scores if name == score):
            whose = None if maker in WITHOUT_BOLD else result
            rows.append(
                {
                    "experiment": experiment,
                    "score": score,
                    "from": maker,
                    **_figures("", result.scores[maker, score], whose),
                    **_figures("two_way_", result.two_way.get((maker, score)), whose, (0, 1)),
                }
            )
    return rows


def _figures(
    prefix: str,
    outcome: Outcome | None,
    whose: ReconstructionResult | None,
    bounds: tuple[float, float] | None = None,
) -> Row:
    """Mean over windows, its interval, chance and p; None for all that is undefined."""
    found: Row = dict.fromkeys(f"{prefix}{name}" for name in ("mean", "low", "high", "chance", "p"))
    if outcome is None or np.isnan(outcome.value).all():
        return found
    known = ~np.isnan(outcome.value)  # not where a short film clip has no other target to be told from
    low = high = None
    if whose is not None:
        both = Crossed(whose.windows["subject"][known], whose.film_clip[known])
        low, high = both.mean(outcome.value[known], bounds) or (None, None)
    values = (float(outcome.value[known].mean()), low, high, _mean(outcome.chance), outcome.p)
    return dict(zip(found, values, strict=True))


def _grouped(
    experiment: str, labels: Mapping[str, np.ndarray], result: ReconstructionResult
) -> Iterator[Row]:
    """One row for each combination of labels, score and maker: means over its windows."""
    keys = list(zip(*labels.values(), strict=True))
    for key in sorted(set(keys)):
        own = np.array([one == key for one in keys])
        for (maker, score), outcome in result.scores.items():
            identified = result.two_way.get((maker, score))
            yield {
                "experiment": experiment,
                **dict(zip(labels, key, strict=True)),
                "score": score,
                "from": maker,
                "mean": _mean(outcome.value[own]),
                "chance": _mean(outcome.chance[own]),
                "two_way_mean": None if identified is None else _mean(identified.value[own]),
                "n": int(own.sum()),
            }


def _each(
    experiment: str, labels: Mapping[str, np.ndarray], movies: list[str], result: ReconstructionResult
) -> Iterator[Row]:
    """One row for each window; ``second`` is that of its BOLD, ``clip_second`` that of its clip."""
    for i, (window, nearest) in enumerate(zip(result.windows, result.nearest, strict=True)):
        yield {
            "experiment": experiment,
            **{name: label[i] for name, label in labels.items()},
            "second": int(window["second"]),
            "clip_second": int(window["clip"]),
            "nearest_movie": movies[nearest[0]],
            "nearest_clip_second": int(nearest[1]),
            **{f"{score} of {maker}": float(one.value[i]) for (maker, score), one in result.scores.items()},
        }


def _mean(values: np.ndarray) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _cells(row: Row) -> Iterator[str]:
    places = 2 if row["score"] == "psnr" else 3
    yield _cell(row, "", 1, places)
    yield _shown(row["chance"], places)
    yield _shown(row["p"], 3)
    yield _cell(row, "two_way_", 100, 1)
    yield _shown(row["two_way_p"], 3)


def _cell(row: Row, prefix: str, scale: int, places: int) -> str:
    """The mean, and below it the interval."""
    mean, low, high = (
        None if row[f"{prefix}{name}"] is None else scale * row[f"{prefix}{name}"]
        for name in ("mean", "low", "high")
    )
    if low is None:
        return _shown(mean, places)
    return f"{mean:.{places}f}\n{low:.{places}f}–{high:.{places}f}"  # noqa: RUF001


def _shown(value: float | None, places: int) -> str:
    return "" if value is None else f"{value:.{places}f}"


def _caption(made: Reconstructor) -> str:
    linear = made.linear is not None and made.settings.split == "val"
    chosen = "; this set has chosen the penalty of the decoder's features" if linear else ""
    return (
        f"mean over windows, below it the {CONFIDENCE} % interval for other subjects and film clips, if "
        f"there are {FEWEST} or more of both; psnr in dB; chance and p: "
        f"the same with BOLD of other moments ({SHIFTS} shifts); two-way: told from another moment of the "
        f"same {made.settings.exclude}, 50 is chance; {', '.join(WITHOUT_BOLD)}: without BOLD; "
        f"*: the model was trained on this embedding{chosen}"
    )
