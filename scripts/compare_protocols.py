"""Top-1 of a run by the retrieval tests of `simtrain.retrieval.named_protocols`, side by side, as markdown.

    python scripts/compare_protocols.py demo.zarr run --paper-pool 32

An experiment that the store cannot be tested in by a protocol is a footnote, which says why. ``--paper-pool``
takes the place of the paper's pools in a store whose film clips are too short for them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import simtrain
from simdata.common.errors import UserError
from simtrain.data.experiments import EXPERIMENTS
from simtrain.retrieval.named_protocols import NAMED, name_of

Row = dict[str, float]
SPREADS = (
    "draws: s.d. over draws; rows: s.d. over rows (subject, movie and hemisphere); interval: 95 %, for other "
    "subjects and film clips"
)


@dataclass(frozen=True)
class Column:
    """One protocol.

    Attributes
    ----------
    heading : its name, and what is not as it says
    rows : (experiment, direction) -> the row of `simtrain.api.retrieval.Retrieval.metrics`
    refused : experiment -> why it was not tested
    """

    heading: str
    rows: dict[tuple[str, str], Row]
    refused: dict[str, str]


def tested(run: Path, store: Path, protocol: str, pool: int | None, device: str) -> Column:
    """One protocol in all experiments that it can be put to."""
    heading, rows, refused = protocol, {}, {}
    for experiment in EXPERIMENTS:
        asked = {"experiment": experiment, "protocol": protocol, "pool": pool, "device": device}
        asked["joint"] = "none"  # which published protocols do not have
        try:
            found = simtrain.retrieve(run, store, **asked, save=False)
        except UserError as error:
            refused[experiment] = str(error)
            continue
        heading = name_of(found.protocol)
        rows |= of_top1(found.metrics, experiment)
    return Column(heading, rows, refused)


def of_top1(metrics: pd.DataFrame, experiment: str) -> dict[tuple[str, str], Row]:
    """From BOLD to each stimulus, as the published test goes."""
    chosen = metrics[(metrics.figure == "top-1") & metrics.direction.str.startswith("fmri->")]
    return {(experiment, row["direction"]): row for row in chosen.to_dict("records")}


def cell(row: Row) -> str:
    """Mean, and every spread by its name; in percent."""
    spreads = {
        "draws": percent(row["sd_over_draws"]),
        "rows": percent(row["sd_over_rows"]),
        "interval": None if pd.isna(row["low"]) else f"{percent(row['low'])} to {percent(row['high'])}",
    }
    told = "; ".join(f"{name} {value}" for name, value in spreads.items() if value is not None)
    return f"**{percent(row['mean'])}** ({told}; nominal chance {percent(row['nominal'])})"


def percent(value: float) -> str | None:
    return None if pd.isna(value) else f"{100 * value:.1f}"


def table(columns: Sequence[Column]) -> str:
    """Markdown: a row for each experiment and direction, a column for each protocol, and footnotes."""
    keys = dict.fromkeys(key for column in columns for key in column.rows)
    notes = dict.fromkeys(why for column in columns for why in column.refused.values())
    number = {why: place for place, why in enumerate(notes, 1)}
    lines = [["top-1 %", "", *(column.heading for column in columns)], ["---"] * (2 + len(columns))]
    for key in keys:
        experiment = key[0]
        cells = (
            cell(column.rows[key]) if key in column.rows else f"({number[column.refused[experiment]]})"
            for column in columns
        )
        lines.append([*key, *cells])
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([text, "", SPREADS, *(f"({place}) {why}" for why, place in number.items())])


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--paper-pool", type=int, help="in place of the paper's pools")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(words)
    pools = {"published-paper": options.paper_pool}
    columns = [tested(options.run, options.store, name, pools.get(name), options.device) for name in NAMED]
    print(table(columns))


if __name__ == "__main__":
    main()
