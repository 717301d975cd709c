"""Pictures of retrieval: figures against chance, by lag, and by film clip.

matplotlib comes with the optional dependencies ``figures``; nothing here needs a display.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from simdata.common.errors import UserError
from simtrain.retrieval.evaluation import RetrievalResult
from simtrain.retrieval.intervals import CONFIDENCE
from simtrain.retrieval.metrics import TOP
from simtrain.retrieval.tables import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = ("top.png", "lags.png", "clips.png")
# Okabe and Ito's palette: told apart with every kind of colour vision.
COLOURS = ("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#F0E442")
INCH, DPI = 4.5, 150
LETTERS = 13  # an inch, of a title
NOMINAL = "dashed: nominal chance"
CHANCE = "dashed: chance, dotted: what 95 % of shifts do not surpass"
SPREAD = f"{CONFIDENCE} % intervals over subjects and film clips, if there are enough; {CHANCE}"


def require(parameter: str = "`figures`", instead: str = "leave it out") -> None:
    """See early that matplotlib is there; ``parameter`` needs it.

    Raises
    ------
    UserError
        If it is not.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UserError(
            f"{parameter} needs matplotlib, which is not installed: pip install 'simdata[figures]', or "
            f"{instead}"
        ) from None


def write(
    folder: Path, results: Mapping[str, RetrievalResult], tables: Mapping[str, list[Row]], title: str
) -> None:
    """``folder``/top.png and clips.png, and lags.png if lags were asked for.

    Parameters
    ----------
    tables : as `simtrain.retrieval.tables.build` gives
    """
    require()
    folder.mkdir(exist_ok=True)
    _top(results, title, folder / NAMES[0])
    if tables["lags"]:
        _lags(tables["lags"], title, folder / NAMES[1])
    _clips(tables["clips"], title, folder / NAMES[2])


def remove(folder: Path) -> None:
    """Remove the pictures of an earlier call, which would not belong to the new figures."""
    for name in NAMES:
        (folder / name).unlink(missing_ok=True)


def _top(results: Mapping[str, RetrievalResult], title: str, path: Path) -> None:
    """Top-k of every direction, with its interval, over lines at chance."""
    figure, panels = _panels(list(results), title, SPREAD, width=1.2)
    for (name, axes), result in zip(panels.items(), results.values(), strict=True):
        width = 0.8 / len(result.measures)
        for number, (direction, measures) in enumerate(result.measures.items()):
            for group, k in enumerate(TOP):
                top = measures[f"top-{k}"]
                at = group - 0.4 + (number + 0.5) * width
                label = direction if group == 0 else None
                axes.bar(at, 100 * top.mean, 0.9 * width, color=_colour(number), label=label)
                if top.interval is not None:
                    axes.vlines(at, 100 * top.interval.low, 100 * top.interval.high, color="black", lw=1)
                for chance, style in ((top.chance, "--"), (top.chance_95, ":")):
                    axes.hlines(100 * chance, at - width / 2, at + width / 2, color="black", ls=style, lw=1)
        axes.set(title=name, ylabel="retrieved, %", xticks=range(len(TOP)))
        axes.set_xticklabels([f"top-{k}" for k in TOP])
    _save(figure, panels, path)


def _lags(rows: list[Row], title: str, path: Path) -> None:
    """Top-1 over lag, a band for the interval, lines at chance."""
    from matplotlib.ticker import AutoLocator

    figure, panels = _panels(_distinct(rows, "experiment"), title, SPREAD, width=1.2)
    for name, axes in panels.items():
        own = [row for row in rows if row["experiment"] == name]
        for number, direction in enumerate(_distinct(own, "direction")):
            curve = [row for row in own if row["direction"] == direction]
            lags, colour = [row["lag"] for row in curve], _colour(number)
            axes.plot(lags, [100 * row["top1"] for row in curve], "o-", ms=3, color=colour, label=direction)
            if curve[0]["low"] is not None:
                low, high = ([100 * row[bound] for row in curve] for bound in ("low", "high"))
                axes.fill_between(lags, low, high, color=colour, alpha=0.15, lw=0)
            axes.plot(lags, [100 * row["chance"] for row in curve], "--", lw=1, color=colour)
            axes.plot(lags, [100 * row["chance_95"] for row in curve], ":", lw=1, color=colour)
        whole = AutoLocator()
        whole.set_params(integer=True)
        axes.xaxis.set_major_locator(whole)
        axes.set(title=name, xlabel="lag from stimulus to BOLD, s", ylabel="top-1, %")
    _save(figure, panels, path)


def _clips(rows: list[Row], title: str, path: Path) -> None:
    """Top-10 of every film clip: top-1 of the few windows of one clip would be mostly 0."""
    figure, panels = _panels(_distinct(rows, "experiment"), title, NOMINAL, width=2)
    for name, axes in panels.items():
        own = [row for row in rows if row["experiment"] == name]
        clips = list(dict.fromkeys((row["movie"], row["clip"]) for row in own))
        directions = _distinct(own, "direction")
        width = 0.8 / len(directions)
        for number, direction in enumerate(directions):
            bars = [row for row in own if row["direction"] == direction]
            at = [clips.index((row["movie"], row["clip"])) - 0.4 + (number + 0.5) * width for row in bars]
            heights = [100 * row["top10"] for row in bars]
            axes.bar(at, heights, 0.9 * width, color=_colour(number), label=direction)
            left, right = ([place + side * width / 2 for place in at] for side in (-1, 1))
            axes.hlines([100 * row["nominal10"] for row in bars], left, right, color="black", ls="--", lw=1)
        axes.set(title=name, ylabel="top-10, %", xticks=range(len(clips)))
        axes.set_xticklabels([" ".join(clip) for clip in clips], rotation=45, ha="right", fontsize="small")
    _save(figure, panels, path)


def _panels(names: list[str], title: str, note: str, width: float) -> tuple[Figure, dict[str, Axes]]:
    """One panel for each experiment, side by side with one scale."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((INCH * width * len(names), INCH), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    letters = int(LETTERS * figure.get_figwidth())
    lines = [*textwrap.wrap(title, letters), *textwrap.wrap(note, letters)]
    figure.suptitle("\n".join(lines), fontsize="small")
    return figure, dict(zip(names, axes, strict=True))


def _save(figure: Figure, panels: Mapping[str, Axes], path: Path) -> None:
    axes = next(iter(panels.values()))
    axes.set_ylim(bottom=0)
    handles, labels = axes.get_legend_handles_labels()
    columns = 2 * len(panels)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    figure.savefig(path, dpi=DPI)


def _distinct(rows: list[Row], key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in rows))


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
