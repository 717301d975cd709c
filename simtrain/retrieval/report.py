"""Results of retrieval, as a table on the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from simdata.common import json_text
from simtrain.data.dataset import Dataset
from simtrain.retrieval import figures, tables
from simtrain.retrieval.bootstrap import CONFIDENCE, RESAMPLES
from simtrain.retrieval.evaluation import RetrievalResult
from simtrain.retrieval.protocol import Protocol
from simtrain.retrieval.scores import SHIFTS, TOP
from simtrain.retrieval.summary import Measure


def narrow_table(title: str, caption: str) -> Table:
    """A table that fits in 80 columns."""
    return Table(title=title, caption=caption, box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0))


def show(results: Mapping[str, RetrievalResult], protocol: Protocol, console: Console) -> None:
    """Print a table: mean and s.d. over draws, below them the interval over subjects, beside chance."""
    # Where pools differ in size, ranks do not compare, and percentiles come with them.
    positions = ("median_rank", "percentile") if protocol.whole_movie else ("median_rank",)
    table = narrow_table(f"Retrieval: {protocol}", _caption(protocol))
    for column in ("experiment", "direction"):
        table.add_column(column, no_wrap=True)
    for column in (*(f"top-{k} %" for k in TOP), *(_short(name) for name in positions), "p"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, result in results.items():
        for direction, measures in result.measures.items():
            cells = [_cell(measures[f"top-{k}"]) for k in TOP]
            cells += [f"{measures[position].mean:.1f}" for position in positions]
            table.add_row(name, direction, *cells, f"{measures['top-1'].p:.3f}")
        measures = next(iter(result.measures.values()))
        chance = [f"{100 * measures[f'top-{k}'].chance:.1f}" for k in TOP]
        table.add_row(
            name, "chance", *chance, *(f"{measures[position].chance:.1f}" for position in positions)
        )
        table.add_section()
    console.print(table)
    if any(result.lags for result in results.values()):
        console.print(_lag_table(results))


def save(
    run: Path,
    results: Mapping[str, RetrievalResult],
    protocol: Protocol,
    dataset: Dataset,
    with_figures: bool,
) -> None:
    """Write ``run``/retrieval.json and the folder ``run``/retrieval: tables, and figures if asked for."""
    folder, rows = run / "retrieval", tables.build(results, dataset)
    write(run / "retrieval.json", results, protocol, rows)
    tables.write(folder, rows)
    figures.remove(folder)
    if with_figures:
        figures.write(folder, results, rows, f"Retrieval: {protocol}")


def write(
    path: Path, results: Mapping[str, RetrievalResult], protocol: Protocol, rows: Mapping[str, list[dict]]
) -> None:
    """All figures as JSON: shares from 0 to 1, mean and s.d. over draws, intervals over subjects.

    Parameters
    ----------
    rows : of every table, as `retrieval.tables.build` gives; that of every tested window is left to CSV
    """
    content = {
        "protocol": {**asdict(protocol), "shifts": SHIFTS, "resamples": RESAMPLES, "confidence": CONFIDENCE},
        "chance": None if protocol.whole_movie else _chance(next(iter(results.values()))),
        "experiments": {name: _as_json(result) for name, result in results.items()},
        "tables": {name: table for name, table in rows.items() if name != "windows"},
    }
    json_text.write(path, content)


def _as_json(result: RetrievalResult) -> dict[str, Any]:
    return {
        "subjects": result.subjects,
        "windows": result.windows,
        "tested_clips": result.tested.shape[1],
        "chance": _chance(result),
        "directions": {direction: _direction(measures) for direction, measures in result.measures.items()},
    }


def _direction(measures: Mapping[str, Measure]) -> dict[str, Any]:
    rank = measures["median_rank"]
    shares = {
        name: {"mean": one.mean, "sd": one.sd, "interval": one.interval, "p": one.p}
        for name, one in measures.items()
        if name != "median_rank"
    }
    return {
        **shares,
        "median_rank": rank.mean,
        "median_rank_sd": rank.sd,
        "median_rank_interval": rank.interval,
    }


def _chance(result: RetrievalResult) -> dict[str, float]:
    measures = next(iter(result.measures.values()))
    return {f"top-{k}": measures[f"top-{k}"].chance for k in TOP}


def _lag_table(results: Mapping[str, RetrievalResult]) -> Table:
    """Top-1 in percent: a row for each lag, a column for each direction."""
    found = {name: result for name, result in results.items() if result.lags}
    directions = list(next(iter(found.values())).lags)
    table = narrow_table("Top-1 % by lag", "the same clips and pools at every lag")
    table.add_column("experiment", no_wrap=True)
    for column in ("lag s", *directions):
        table.add_column(column, justify="right", no_wrap=True)
    for name, result in found.items():
        for lag in result.lags[directions[0]]:
            cells = [_cell(result.lags[direction][lag]["top-1"]) for direction in directions]
            table.add_row(name, str(lag), *cells)
        table.add_section()
    return table


def _cell(share: Measure) -> str:
    """Mean and s.d. in percent, below them the interval."""
    shown = f"{100 * share.mean:.1f}±{100 * share.sd:.1f}"
    if share.interval is None:
        return shown
    return f"{shown}\n{100 * share.interval.low:.1f}–{100 * share.interval.high:.1f}"  # noqa: RUF001


def _short(name: str) -> str:
    return {"median_rank": "rank", "percentile": "%ile"}[name]


def _caption(protocol: Protocol) -> str:
    interval = (
        "no interval: the mean of subjects was tested"
        if protocol.average_subjects
        else (f"below: {CONFIDENCE} % interval over subjects")
    )
    percentile = "; %ile: mean percent of the negatives that come first" if protocol.whole_movie else ""
    return (
        f"mean ± s.d. of {protocol.draws} draws; {interval}; rank: the median{percentile}; "
        f"p: of top-1, against {SHIFTS} shifts"
    )
