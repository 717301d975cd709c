"""Retrieval by subject, run, film clip, lag and tested window, as rows for CSV and JSON."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from simtrain.data.dataset import Dataset
from simtrain.retrieval.evaluation import RetrievalResult
from simtrain.retrieval.metrics import POSITIONS, TOP
from simtrain.retrieval.ranks import figures
from simtrain.retrieval.scores import Score
from simtrain.retrieval.units import EVERYONE

NAMES = ("subjects", "rows", "clips", "lags", "windows")
Row = dict[str, Any]


def build(results: Mapping[str, RetrievalResult], dataset: Dataset) -> dict[str, list[Row]]:
    """Rows of every table of ``NAMES``; shares are from 0 to 1, as in JSON.

    Those of ``rows`` are what the published code calls so: a subject, a movie and a hemisphere.
    """
    tables: dict[str, list[Row]] = {name: [] for name in NAMES}
    for name, result in results.items():
        for direction, score in result.scores.items():
            tested = result.tested[direction]
            draws, size = tested.shape
            units = np.tile(np.repeat(result.units, size // len(result.units)), draws)
            subject, movie, clip = labels(tested.ravel(), dataset)
            head = {"experiment": name, "direction": direction}
            of_each = {"subject": subject, "hemisphere": units, "movie": movie}
            tables["subjects"] += _grouped(head, {"subject": subject}, score)
            tables["rows"] += _grouped(head, of_each, score)
            tables["clips"] += _grouped(head, {"movie": movie, "clip": clip}, score)
            tables["windows"] += _each(head, {**of_each, "clip": clip}, tested.ravel(), score)
        tables["lags"] += _lags(name, result)
    return tables


def write(folder: Path, tables: Mapping[str, list[Row]]) -> None:
    """``folder``/NAME.csv of every table that has rows; those of an earlier call that has none go."""
    folder.mkdir(exist_ok=True)
    for name, rows in tables.items():
        path = folder / f"{name}.csv"
        if not rows:
            path.unlink(missing_ok=True)
            continue
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _grouped(head: Row, labels: Mapping[str, np.ndarray], score: Score) -> Iterator[Row]:
    """One row for each combination of labels, in their order: what the tested windows with it came to."""
    keys = list(zip(*labels.values(), strict=True))
    names = sorted(set(keys))
    place = {key: number for number, key in enumerate(names)}
    group = np.array([place[key] for key in keys])
    counts, ranks = np.bincount(group), score.ranks.ravel()
    found = {name: figures(metric, ranks, group, len(names)) for name, metric in score.metrics.items()}
    nominal = {
        name: np.bincount(group, metric.expected(ranks.pool)) / counts
        for name, metric in score.metrics.items()
        if name not in POSITIONS  # whose chance is plain to see
    }
    columns = {
        **{f"top{k}": found.pop(f"top-{k}") for k in TOP},
        **{f"nominal{k}": nominal.pop(f"top-{k}") for k in TOP},
        **found,
        **{f"nominal_{name}": values for name, values in nominal.items()},
    }
    for number, key in enumerate(names):
        of_group = {name: float(values[number]) for name, values in columns.items()}
        yield {**head, **dict(zip(labels, key, strict=True)), **of_group, "n": int(counts[number])}


def _each(head: Row, labels: Mapping[str, np.ndarray], tested: np.ndarray, score: Score) -> Iterator[Row]:
    """One row for each tested window; ``second`` is that of its BOLD, ``clip_second`` that of its clip.

    ``rank`` is among the ``candidates``, of which every pool that can be drawn has ``pool``.
    """
    draws, ranks = np.indices(score.ranks.rank.shape)[0].ravel(), score.ranks.ravel()
    for position, (draw, window) in enumerate(zip(draws, tested, strict=True)):
        yield {
            **head,
            "draw": int(draw),
            **{name: label[position] for name, label in labels.items()},
            "second": int(window["second"]),
            "clip_second": int(window["clip"]),
            "rank": int(ranks.rank[position]),
            "candidates": int(ranks.candidates[position]),
            "pool": int(ranks.pool[position]),
        }


def _lags(name: str, result: RetrievalResult) -> Iterator[Row]:
    for direction, curve in result.lags.items():
        for lag, measures in curve.items():
            top1 = measures["top-1"]
            low, high = top1.interval or (None, None)
            yield {
                "experiment": name,
                "direction": direction,
                "lag": lag,
                "top1": top1.mean,
                "sd_over_draws": top1.sd_over_draws,
                "sd_over_rows": top1.sd_over_rows,
                "low": low,
                "high": high,
                "chance": top1.chance,
                "chance_95": top1.chance_95,
                "nominal": top1.nominal,
                "p": top1.p,
            }


def labels(windows: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) names of the subject, movie and film clip of each window."""
    subject = [subject_name(dataset, position) for position in windows["subject"]]
    movie = [dataset.movies[position] for position in windows["movie"]]
    codes = dataset.segment[windows["movie"], windows["clip"]]
    clip = [dataset.segments.get(int(code), f"segment-{code}") for code in codes]
    return np.array(subject, object), np.array(movie, object), np.array(clip, object)


def subject_name(dataset: Dataset, position: int) -> str:
    """The id of the subject at a position, or ``mean``."""
    return "mean" if position == EVERYONE else dataset.subjects[position]
