"""The trainings and tests of a table, one after another: what is done is not done again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from simdata.common.errors import UserError
from simtrain.api.retrieval import baseline, retrieve
from simtrain.api.runs import fit, pretrain
from simtrain.common.interrupts import Interrupts, Stopped
from simtrain.config import reference
from simtrain.config.schema import BaseConfig, Config, PretrainConfig
from simtrain.reproduction.plan import CHANCE, RIDGE, Plan, Settings, TablePlan, TrainingPlan
from simtrain.retrieval.by_modality import Pool
from simtrain.training import checkpoint
from simtrain.training.run_folder import FitRun, PretrainRun

INIT = "model.init"


@dataclass(frozen=True)
class Runner:
    """Works on one table.

    Attributes
    ----------
    folder : trainings go to ``folder``/SPLITS/PART, as ordinary run folders, and are shared by tables; tests
        to ``folder``/tests/table-NAME/ROW
    settings : of all trainings, on top of what the plan says
    pool : of all tests
    progress : whether trainings print
    say : told what is begun
    """

    store: str | PathLike[str]
    folder: Path
    plan: Plan
    name: str
    table: TablePlan
    settings: Settings
    pool: Pool
    device: str
    progress: bool
    say: Callable[[str], object]
    interrupts: Interrupts

    def run(self) -> dict[str, Path]:
        """Do what is not done yet; row -> folder of its test.

        Raises
        ------
        Stopped
            If a signal came: at once, or, while a model is trained, behind the step in work.
        """
        for name, part in self.plan.trained(self.table).items():
            self._train(name, part)
            self._go_on()
        tests = {row: self._place(row) for row in self.table.rows if row != CHANCE}
        for row, place in tests.items():
            if not self._tested(place):
                self.say(f"table {self.name}, {row}: test")
                self._test(row, place)
            self._go_on()
        return tests

    def _train(self, name: str, part: TrainingPlan) -> None:
        out = self._run(name)
        if _finished(out, part):
            return
        self.say(f"table {self.name}, {name}: training in {out}")
        asked: dict[str, Any] = {"splits": self.table.splits, "device": self.device}
        asked["progress"] = self.progress
        if not (out / "config.yaml").exists():
            asked |= {"config": part.fit or part.pretrain, "overrides": self._overrides(part)}
        train = fit if part.fit else pretrain
        try:
            train(self.store, out, **asked)
        except (KeyboardInterrupt, UserError):
            self._go_on()  # a signal before there is a run leaves none to open
            raise

    def _test(self, row: str, place: Path) -> None:
        test: dict[str, Any] = {
            "protocol": self.table.protocol,
            "experiment": self.table.experiment,
            "pool": self.pool,
            "device": self.device,
        }
        if row == RIDGE:
            first = self.plan.parts[self.table.rows[0]]
            config = {"config": first.fit, "overrides": self._overrides(first) | {INIT: None}}
            test |= config | {"splits": self.table.splits}
            baseline(self.store, place.parent, RIDGE, **test)
        else:
            retrieve(self._run(row), self.store, out=place, **test)

    def _tested(self, place: Path) -> bool:
        """Whether it was tested with these pools."""
        file = place / "retrieval.json"
        return file.exists() and json.loads(file.read_text())["protocol"]["pool"] == self.pool

    def _overrides(self, part: TrainingPlan) -> Settings:
        """What a part is trained with, on top of its preset."""
        kind = Config if part.fit else PretrainConfig
        shared = _own({**self.table.settings, **self.settings}, kind)
        own = {**part.settings, **shared}
        return own | ({} if part.encoder is None else {INIT: str(self._run(part.encoder))})

    def _run(self, part: str) -> Path:
        return self.folder / self.table.splits / part

    def _place(self, row: str) -> Path:
        return self.folder / "tests" / f"table-{self.name}" / row

    def _go_on(self) -> None:
        """Stop here if a signal came; from here on the next one stops at once."""
        self.interrupts.release()
        if self.interrupts.signal is not None:
            raise Stopped(self.interrupts.signal)


def must_be_settings(settings: Mapping[str, Any]) -> None:
    """Refuse a setting that no training knows, or that the plan has to say.

    Raises
    ------
    UserError
        If there is one.
    """
    for key in settings:
        if key == INIT:
            raise UserError(
                f"{INIT}: a table says what starts from which encoder; put the run of your own in its place, "
                "such as `out`/whole-clips/encoder, before the table is begun"
            )
        if not any(_own({key: None}, kind) for kind in (Config, PretrainConfig)):
            raise UserError(f"`overrides` {key}: fit and pretrain have no such key")


def _own(settings: Settings, kind: type[BaseConfig]) -> Settings:
    """Those of the settings that a kind of training has; how weights are chosen is the preset's."""
    known = set(reference.keys(kind))
    if kind is PretrainConfig:
        known -= {"train.best_by"}
    weights = "loss.weights." if kind is Config else "-"
    return {key: value for key, value in settings.items() if key in known or key.startswith(weights)}


def _finished(out: Path, part: TrainingPlan) -> bool:
    """Whether all steps of a run are done."""
    if not (out / "config.yaml").exists():
        return False
    run = (FitRun if part.fit else PretrainRun).open(out)
    return run.checkpoint.exists() and checkpoint.step_of(run.checkpoint) >= run.config.train.steps
