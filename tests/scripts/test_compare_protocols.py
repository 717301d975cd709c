"""The table of a run by all protocols has the figures of the tests."""

import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import compare_protocols
from compare_protocols import Column

from simdata.common.errors import UserError


def row(mean, **other):
    empty = {"sd_over_draws": None, "sd_over_rows": 0.1, "low": None, "high": None, "nominal": 1 / 32}
    return {"mean": mean, **empty, **other}


def test_each_spread_is_called_by_its_name_and_what_was_refused_is_a_footnote():
    key = ("new-subjects", "fmri->video")
    ours = Column("ours", {key: row(0.5, sd_over_draws=0.02, low=0.45, high=0.55)}, {})
    theirs = Column("theirs, but pool 4", {}, {"new-subjects": "too few: do this"})
    told = "**50.0** (draws 2.0; rows 10.0; interval 45.0 to 55.0; nominal chance 3.1)"
    assert compare_protocols.table([ours, theirs]).splitlines() == [
        "| top-1 % |  | ours | theirs, but pool 4 |",
        "| --- | --- | --- | --- |",
        f"| new-subjects | fmri->video | {told} | (1) |",
        "",
        compare_protocols.SPREADS,
        "(1) too few: do this",
    ]


def test_directions_are_those_that_every_protocol_has(monkeypatch):
    asked = []

    def retrieve(run, store, **options):
        asked.append(options["joint"])
        raise UserError("no")

    monkeypatch.setattr(compare_protocols.simtrain, "retrieve", retrieve)
    compare_protocols.tested(Path("run"), Path("store"), "ours", None, "cpu")
    assert asked == ["none"] * 3


def test_figures_are_those_from_bold_to_the_stimulus():
    metrics = pd.DataFrame(
        [
            {"figure": figure, "direction": direction, "mean": mean}
            for figure, direction, mean in [
                ("top-1", "fmri->video", 0.5),
                ("top-5", "fmri->video", 0.7),
                ("top-1", "video->fmri", 0.6),
            ]
        ]
    )
    found = compare_protocols.of_top1(metrics, "both")
    assert {key: one["mean"] for key, one in found.items()} == {("both", "fmri->video"): 0.5}
