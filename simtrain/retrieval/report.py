"""Results of retrieval, as a table on the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from simdata.common import json_text
from simdata.release.splits import Splits
from simtrain.data.dataset import Dataset
from simtrain.data.experiments import SEEN, SET_NAMES, file_of
from simtrain.retrieval import family, figures, intervals, tables
from simtrain.retrieval.evaluation import RetrievalResult
from simtrain.retrieval.joint import JointWeights
from simtrain.retrieval.metrics import POSITIONS, STANDARD, RetrievalMetric, Top1, chosen
from simtrain.retrieval.named_protocols import name_of, title_of
from simtrain.retrieval.protocol import EXACT, Protocol
from simtrain.retrieval.scores import SHIFTS
from simtrain.retrieval.summary import Measure
from simtrain.training.run_folder import TestedWeights

FAMILY_P = "family\np"
NOTE_ON_SEEN = f"{SEEN}: subjects and scenes that the model was trained on, no test of new ones"


def narrow_table(title: str, caption: str) -> Table:
    """A table that fits in 80 columns."""
    return Table(title=title, caption=caption, box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0))


def show(
    results: Mapping[str, RetrievalResult],
    protocol: Protocol,
    console: Console,
    weights: TestedWeights | None = None,
) -> None:
    """Print a table: figures, below them their interval and what they are by chance.

    Metrics beside the standard ones, and top-1 by lag, have tables of their own.
    """
    columns = _columns(protocol)
    of_model = "" if weights is None else f"; {weights}"
    table = narrow_table(title_of(protocol), _caption(protocol, results) + of_model)
    for column in ("experiment", "direction"):
        table.add_column(column, no_wrap=True)
    for column in (*(metric.heading or name for name, metric in columns.items()), FAMILY_P):
        table.add_column(column, justify="right", no_wrap=True)
    corrected = family.of_results(results)
    for name, result in results.items():
        for direction, measures in result.measures.items():
            cells = [_cell(measures[one], metric, protocol) for one, metric in columns.items()]
            table.add_row(name, _narrow(direction), *cells, f"{corrected[name, direction, 'top-1']:.3f}")
            table.add_row(
                "", "  chance", *(_chance(measures[one], metric) for one, metric in columns.items())
            )
        if protocol.pools_differ or name == list(results)[-1]:  # else it is the same for all
            for modality, measures in _by_nominal(result).items():
                nominal = [_number(measures[one].nominal, metric) for one, metric in columns.items()]
                table.add_row("nominal", modality if protocol.pools_differ else "  chance", *nominal)
        table.add_section()
    console.print(table)
    if protocol.metrics:
        console.print(_table_of_others(results, protocol))
    if any(result.lags for result in results.values()):
        console.print(_lag_table(results, protocol))


def save(
    run: Path,
    results: Mapping[str, RetrievalResult],
    protocol: Protocol,
    dataset: Dataset,
    with_figures: bool,
    weights: TestedWeights | None = None,
) -> None:
    """Write ``run``/retrieval.json and the folder ``run``/retrieval: tables, and figures if asked for.

    Of another set than that of test, it is in their names.
    """
    stem = file_of("retrieval", protocol.split)
    folder, rows = run / stem, tables.build(results, dataset)
    write(run / f"{stem}.json", results, protocol, rows, dataset.splits, weights)
    tables.write(folder, rows)
    figures.remove(folder)
    if with_figures:
        figures.write(folder, results, rows, title_of(protocol))


def write(
    path: Path,
    results: Mapping[str, RetrievalResult],
    protocol: Protocol,
    rows: Mapping[str, list[tables.Row]],
    splits: Splits | None,
    weights: TestedWeights | None = None,
) -> None:
    """All figures as JSON: shares from 0 to 1, as `retrieval.summary.Measure` has them.

    Parameters
    ----------
    rows : of every table, as `retrieval.tables.build` gives; that of every tested window is left to CSV
    splits : by which the store was divided, if that is known
    weights : of a model, which were tested
    """
    joint = _joint(results)
    corrected = family.of_results(results)
    content = {
        **({} if weights is None else {"weights": weights._asdict()}),
        "protocol": {
            "name": name_of(protocol),
            **protocol.settings,
            "shifts": SHIFTS,
            "confidence": intervals.CONFIDENCE,
        },
        "joint": None if joint is None else joint._asdict(),
        "splits": None if splits is None else splits.as_json(),
        "nominal": None if protocol.pools_differ else _nominal(next(iter(results.values()))),
        "experiments": {name: _as_json(name, result, corrected) for name, result in results.items()},
        "tables": {name: table for name, table in rows.items() if name != "windows"},
    }
    json_text.write(path, content)


def _joint(results: Mapping[str, RetrievalResult]) -> JointWeights | None:
    """The same in all experiments."""
    return next(iter(results.values())).joint


def _as_json(
    experiment: str, result: RetrievalResult, corrected: Mapping[tuple[str, str, str], float]
) -> dict[str, Any]:
    return {
        "subjects": result.subjects,
        "clips": result.clips,
        "windows": result.windows,
        "tested_clips": next(iter(result.tested.values())).shape[1],
        "nominal": _nominal(result) if len(_by_nominal(result)) == 1 else None,
        "directions": {
            direction: {
                name: {**one._asdict(), "family_p": corrected[experiment, direction, name]}
                for name, one in measures.items()
            }
            for direction, measures in result.measures.items()
        },
    }


def _by_nominal(result: RetrievalResult) -> dict[str, dict[str, Measure]]:
    """Modality -> figures, of those whose nominal chance is another."""
    found: dict[tuple[float, ...], tuple[str, dict[str, Measure]]] = {}
    for direction, measures in result.measures.items():
        nominal = tuple(one.nominal for one in measures.values())
        found.setdefault(nominal, (direction.removeprefix("fmri->"), measures))
    return dict(found.values())


def _nominal(result: RetrievalResult) -> dict[str, float]:
    measures = next(iter(result.measures.values()))
    return {name: one.nominal for name, one in measures.items() if name not in POSITIONS}


def _lag_table(results: Mapping[str, RetrievalResult], protocol: Protocol) -> Table:
    """Top-1 in percent: a row for each lag, a column for each direction."""
    found = {name: result for name, result in results.items() if result.lags}
    directions = list(next(iter(found.values())).lags)
    note = "the same clips and pools at every lag"
    if protocol.split == "test":
        note += "; of the test set, so no lag may be chosen by it"
    table = narrow_table(f"Top-1 % by lag, {SET_NAMES[protocol.split]}", note)
    table.add_column("experiment", no_wrap=True)
    for column in ("lag s", *(_narrow(one).replace("->", "->\n") for one in directions)):
        table.add_column(column, justify="right", no_wrap=True)
    top1 = Top1()
    for name, result in found.items():
        for lag in result.lags[directions[0]]:
            cells = [_cell(result.lags[direction][lag]["top-1"], top1, protocol) for direction in directions]
            table.add_row(name, str(lag), *cells)
        table.add_section()
    return table


def _table_of_others(results: Mapping[str, RetrievalResult], protocol: Protocol) -> Table:
    """Each metric that is no standard one, in each experiment and direction, and what it is by chance."""
    others = {name: one for name, one in chosen(protocol.metrics).items() if name not in STANDARD}
    notes = [f"{one.heading or name}: {one.note}" for name, one in others.items() if one.note]
    table = narrow_table("Other metrics", "; ".join([_spread_of(protocol), *notes]))
    for column in ("experiment", "direction", "metric"):
        table.add_column(column, no_wrap=True)
    for column in ("figure", FAMILY_P):
        table.add_column(column, justify="right", no_wrap=True)
    corrected = family.of_results(results)
    for name, result in results.items():
        for direction, measures in result.measures.items():
            for key, metric in others.items():
                one, p = measures[key], f"{corrected[name, direction, key]:.3f}"
                shown = _with_interval(one, metric, protocol)
                table.add_row(name, _narrow(direction), metric.heading or key, shown, p)
                table.add_row("", "", "  chance", _chance(one, metric))
                table.add_row("", "", "  nominal", _number(one.nominal, metric))
        table.add_section()
    return table


def _narrow(direction: str) -> str:
    """In a line for each modality of the stimulus."""
    return direction.replace("+", "+\n")


def _columns(protocol: Protocol) -> dict[str, RetrievalMetric]:
    """The standard metrics that are shown: where pools differ in size, ranks do not compare.

    Percentiles do, and are shown then.
    """
    hidden = () if protocol.pools_differ else ("percentile",)
    return {name: metric for name, metric in chosen().items() if name not in hidden}


def _cell(measure: Measure, metric: RetrievalMetric, protocol: Protocol) -> str:
    """The mean; of a share in percent, with its s.d., and below them the interval."""
    if not metric.percent:
        return _number(measure.mean, metric)
    return _with_interval(measure, metric, protocol)


def _with_interval(measure: Measure, metric: RetrievalMetric, protocol: Protocol) -> str:
    spread = _spread(measure, metric, protocol)
    if measure.interval is None:
        return spread
    low, high = (_number(bound, metric) for bound in measure.interval)
    return f"{spread}\n{low}–{high}"  # noqa: RUF001


def _spread(measure: Measure, metric: RetrievalMetric, protocol: Protocol) -> str:
    """What `_spread_of` says."""
    sd = measure.sd_over_rows if protocol.clips_of == "run" else measure.sd_over_draws
    mean = _number(measure.mean, metric)
    return mean if sd is None else f"{mean}±{_number(sd, metric)}"


def _spread_of(protocol: Protocol) -> str:
    """What is behind the mean: every run's own figure differs from others', draws of all runs hardly."""
    if protocol.draws == EXACT:
        return "mean over all windows and pools"
    if protocol.clips_of == "run":
        return "mean ± s.d. over rows (subject, movie and hemisphere)"
    return f"mean ± s.d. of {protocol.draws} draws"


def _chance(measure: Measure, metric: RetrievalMetric) -> str:
    return "/".join(_number(value, metric) for value in (measure.chance, measure.chance_95))


def _number(value: float, metric: RetrievalMetric) -> str:
    return f"{100 * value:.1f}" if metric.percent else f"{value:.{metric.digits}f}"


def _caption(protocol: Protocol, results: Mapping[str, RetrievalResult]) -> str:
    notes = [f"{one.heading or name}: {one.note}" for name, one in _columns(protocol).items() if one.note]
    if SEEN in results:
        notes.append(NOTE_ON_SEEN)
    if (joint := _joint(results)) is not None:
        notes.append(str(joint))
    figures = sum(len(measures) for result in results.values() for measures in result.measures.values())
    return "; ".join(
        [
            _spread_of(protocol),
            *_on_intervals(protocol, results),
            *notes,
            f"chance: mean of {SHIFTS} shifts of the stimulus in time/what 95 % of them do not surpass",
            f"family p: of top-1 against the largest of all {figures} figures in each shift",
        ]
    )


def _on_intervals(protocol: Protocol, results: Mapping[str, RetrievalResult]) -> list[str]:
    """What is random in intervals, and where there is none."""
    if protocol.average_subjects:
        return ["no interval: the mean of subjects was tested"]
    few = {name: one for name, one in results.items() if min(one.subjects, one.clips) < intervals.FEWEST}
    notes = []
    if len(few) < len(results):
        notes.append(f"below: {intervals.CONFIDENCE} % interval, for other subjects and other film clips")
    if few:
        told = ", ".join(f"{name} has {one.subjects} and {one.clips}" for name, one in few.items())
        notes.append(f"no interval with fewer than {intervals.FEWEST} subjects or film clips: {told}")
    return notes
