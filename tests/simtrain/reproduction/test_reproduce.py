"""The paper's tables, at a size of seconds: what is trained and tested, gone on with, and written."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from command_line import call

import simtrain
from simdata.common.errors import UserError
from simtrain.config.composition import load
from simtrain.config.schema import Config, PretrainConfig
from simtrain.reproduction.plan import CHANCE, RIDGE, Plan
from simtrain.reproduction.published_numbers import PublishedNumbers
from simtrain.retrieval.named_protocols import NAMED
from simtrain.training.run_folder import FitRun, PretrainRun
from simtrain.training.step import Training

TINY = {
    **{"model.dim": 8, "model.depth": 1, "model.dim_head": 8, "model.heads": 1, "projector.dim": 8},
    **{"mae.decoder_dim": 8, "train.steps": 2, "train.batch_size": 8, "train.validation_samples": 8},
}
SMALL = {"demo": True, "pool": 4, "overrides": TINY, "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def table_1(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("reproduced") / "out"
    published = out.parent / "mine.yaml"
    published.write_text("source: the PDF, p. 8\ntables: {'1': {ridge: {fmri->audio: 3.3}}}")
    sets = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    options = ["--table", 1, "--demo", "--pool", 4, "--out", out, "--published", published, "--device", "cpu"]
    return out, call("reproduce", store, *options, *sets)


def test_what_the_plan_names_is_there():
    plan = Plan.read()
    for part in plan.parts.values():
        kind, preset = (Config, part.fit) if part.fit else (PretrainConfig, part.pretrain)
        load(preset, kind=kind)
        assert part.encoder is None or plan.parts[part.encoder].pretrain
    for table in plan.tables.values():
        assert {*table.rows} <= {*plan.parts, RIDGE, CHANCE}
        assert table.protocol in NAMED
        assert table.splits in plan.demo.pools


def test_a_table_is_trained_tested_and_shown_beside_the_published_numbers(table_1):
    out, shown = table_1
    text = " ".join(shown.split())
    for words in ("tri-modal", "76.8", "second-hand, from reviews", "the PDF, p. 8", "Demo size"):
        assert words in text, words
    with (out / "table-1.csv").open() as file:
        rows = {(row["row"], row["direction"]): row for row in csv.DictReader(file)}
    assert {row for row, _ in rows} == {"tri-modal", "bi-modal-video", "bi-modal-audio", "ridge", "chance"}
    assert ("bi-modal-video", "fmri->audio") not in rows
    assert float(rows["chance", "fmri->video"]["top1"]) == 25
    assert (rows["ridge", "fmri->audio"]["published"], rows["ridge", "fmri->audio"]["source"]) == (
        "3.3",
        "the PDF, p. 8",
    )
    assert rows["ridge", "fmri->video"]["published"] == "15.6"
    content = json.loads((out / "table-1.json").read_text())
    assert content["cells"][0]["row"] == "tri-modal"
    for row, folder in content["tests"].items():
        found = json.loads((out / folder / "retrieval.json").read_text())
        assert found["protocol"]["name"] == "published-paper, but pool 4"
        top1 = found["experiments"]["new-subjects"]["directions"]
        assert all(
            float(rows[row, direction]["top1"]) == pytest.approx(100 * figures["top-1"]["mean"])
            for direction, figures in top1.items()
            if direction.startswith("fmri->")
        )
    assert "| tri-modal | fmri->video | " in (out / "table-1.md").read_text()


def test_its_trainings_are_ordinary_runs_of_the_presets(table_1):
    out, _ = table_1
    config = FitRun.open(out / "whole-clips/tri-modal").config
    assert (config.loss.kind, config.model.freeze, config.data.features) == ("published", "all", "raw")
    assert (config.train.best_by, config.train.steps, config.model.ico) == ("pairs", 2, 1)
    pretrained = PretrainRun.open(out / "whole-clips/encoder-by-frame").config
    assert (pretrained.model.temporal, pretrained.train.best_by) == ("concat", "loss")
    assert FitRun.open(out / "whole-clips/bi-modal-audio").config.model.init.startswith("sha256:")


def test_what_is_done_is_not_done_again(store, table_1, monkeypatch):
    out, shown = table_1

    def none(*_):
        raise AssertionError("trained or tested again")

    monkeypatch.setattr(Training, "update", none)
    monkeypatch.setattr("simtrain.reproduction.runner.retrieve", none)
    found = simtrain.reproduce(store, out, "1", **SMALL)
    assert found.metrics.set_index(["row", "direction"]).published["tri-modal", "fmri->video"] == 76.8
    assert f"{found.cells[0].top1:.1f}" in shown


def test_other_settings_need_another_folder(store, table_1, tmp_path):
    with pytest.raises(UserError, match="was begun with other settings"):
        simtrain.reproduce(store, table_1[0], "1", **SMALL | {"demo": False})
    for key, fault in {
        "model.init": "put the run of your own in its place",
        "train.speed": "no such key",
    }.items():
        with pytest.raises(UserError, match=fault):
            simtrain.reproduce(store, tmp_path / "out", "1", **SMALL | {"overrides": {key: "x"}})
    with pytest.raises(UserError, match="table"):
        simtrain.reproduce(store, tmp_path / "out", "4", **SMALL)


def test_published_numbers_that_are_not_known_are_none(tmp_path):
    numbers = PublishedNumbers()
    assert numbers.find("2", "ridge", "fmri->video") is None
    assert numbers.find("1", "chance", "fmri->audio").top1 == 3.7
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("tables: {'1': {ridge: {fmri->video: 250}}}")
    with pytest.raises(UserError, match="no file of published numbers"):
        PublishedNumbers(wrong)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_with_how_to_go_on(store, tmp_path, number, status):
    out = tmp_path / "out"
    sets = [f"--set={key}={value}" for key, value in (TINY | {"train.steps": 100000}).items()]
    words = ["reproduce", str(store), "--table", "C1", "--demo", "--pool", "4", "--out", str(out), *sets]
    process = subprocess.Popen(
        [sys.executable, "-m", "simtrain", *words, "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    metrics = out / "whole-clips/encoder/metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == status, said
    assert f"is kept; go on with: simtrain reproduce {store}" in said
    assert "Traceback" not in said
    assert (out / "whole-clips/encoder/checkpoint.pt").exists()
