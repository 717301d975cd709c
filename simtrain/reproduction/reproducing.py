"""The paper's tables by one call each."""

from __future__ import annotations

import json
import signal
from os import PathLike
from pathlib import Path
from typing import Any

from rich.console import Console

from simdata.common import json_text
from simdata.common.errors import UserError
from simdata.common.local_path import local
from simdata.common.yaml_text import parse_yaml
from simtrain.api.runs import Overrides
from simtrain.common import interrupts, processes
from simtrain.reproduction.plan import Plan
from simtrain.reproduction.published_numbers import PublishedNumbers
from simtrain.reproduction.result import Reproduction
from simtrain.reproduction.runner import Runner, must_be_settings
from simtrain.retrieval.by_modality import Pool, as_text

ASKED = "reproduction.json"


def reproduce(
    store: str | PathLike[str],
    out: str | PathLike[str],
    table: str,
    *,
    overrides: Overrides = (),
    demo: bool = False,
    pool: Pool | None = None,
    published: str | PathLike[str] | None = None,
    device: str = "auto",
    progress: bool = True,
) -> Reproduction:
    """Train and test what a table of the paper has, and put our figures beside the published ones.

    What is done in ``out`` is not done again, and what was stopped goes on: each training is a run folder of
    its own there. Signals are as for `fit`.

    Parameters
    ----------
    store : str or PathLike[str]
        Path or URL of a store that simdata built.
    out : str or PathLike[str]
        Folder: new, empty, or of the same settings; tables share their trainings in it.
    table : {"1", "2", "3", "C1"}
        Experiment 1 (new subjects), 2 (new scenes) or 3 (both), or what is trained of the encoder.
    overrides : dict or iterable of str
        ``{"train.steps": 100}``, or texts such as ``"train.steps=100"``, for all trainings that have the key.
    demo : bool
        Small enough for a store of `simdata demo`, in minutes.
    pool : int, "movie" or dict, optional
        Candidates of each test, as for `retrieve`; None: as published, or as many as the film clips of the
        release allow. With other pools, tests are done again.
    published : str or PathLike[str], optional
        YAML file with published numbers, on top of those that are known to us.
    device : {"auto", "cpu", "cuda"}
        Where to compute; auto takes the GPU if there is one.
    progress : bool
        Print what is begun, and how trainings go.

    Returns
    -------
    Reproduction
        Its ``metrics`` are a table, its ``markdown`` is one to print; both are in ``out``, too.

    Raises
    ------
    UserError
        If there is no such table, ``out`` was begun with other settings, or as `fit`, `retrieve` and
        `baseline`.
    KeyboardInterrupt
        At Ctrl-C.

    Examples
    --------
    >>> tiny = {"model.dim": 8, "model.depth": 1, "projector.dim": 8, "train.steps": 2, "train.batch_size": 8,
    ...     "train.validation_samples": 8, "mae.decoder_dim": 8}
    >>> small = {"demo": True, "pool": 4, "overrides": tiny, "device": "cpu", "progress": False}
    >>> found = simtrain.reproduce(store, out, "C1", **small)
    >>> found
    <Reproduction of table C1: tri-modal, fine-tuned, from-scratch, chance>
    >>> found.metrics.row.unique().tolist()
    ['tri-modal', 'fine-tuned', 'from-scratch', 'chance']
    """
    number = None
    with interrupts.caught():
        try:
            return reproduced(store, out, table, overrides, demo, pool, published, device, progress)
        except interrupts.Stopped as stopped:
            number = stopped.number
    signal.raise_signal(number)  # to whoever it was meant for: Python raises KeyboardInterrupt at Ctrl-C
    raise interrupts.Stopped(number)  # who got it wants to go on, but there is no table


def reproduced(
    store: str | PathLike[str],
    out: str | PathLike[str],
    table: str,
    overrides: Overrides,
    demo: bool,
    pool: Pool | None,
    published: str | PathLike[str] | None,
    device: str,
    progress: bool,
) -> Reproduction:
    """As `reproduce`; a signal raises `simtrain.common.interrupts.Stopped`."""
    if processes.size() > 1:
        raise UserError("reproduce works in one process: start it without torchrun")
    plan, folder = Plan.read(), local(out, "out")
    chosen, numbers = plan.table(table), PublishedNumbers(None if published is None else Path(published))
    settings = _settings(overrides)
    must_be_settings(settings)
    asked = {"demo": demo, "overrides": settings}
    _must_be_of(folder, asked)
    console = Console(quiet=not progress)
    if pool is None:
        pool = plan.demo.pools[chosen.splits] if demo else chosen.pool
    with interrupts.caught() as interrupt:
        runner = Runner(
            store,
            folder,
            plan,
            table,
            chosen,
            {**(plan.demo.settings if demo else {}), **settings},
            pool,
            device,
            progress,
            lambda text: console.print(text, soft_wrap=True),
            interrupt,
        )
        tests = runner.run()
    told = f"{chosen.protocol}, pool {as_text(pool)}, {chosen.experiment}, splits {chosen.splits}"
    found = Reproduction(table, chosen, tests, numbers, {**asked, "test": told})
    found.save(folder)
    return found


def _settings(overrides: Overrides) -> dict[str, Any]:
    if isinstance(overrides, dict):
        return dict(overrides)
    found = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"`overrides` {text}: write key=value, such as train.steps=1000")
        found[key] = parse_yaml(value, f"`overrides` {text}: the value")
    return found


def _must_be_of(folder: Path, asked: dict[str, Any]) -> None:
    """Refuse a folder that was begun with other settings; begin a new one."""
    file = folder / ASKED
    if file.exists():
        begun = json.loads(file.read_text())
        changed = [
            f"{key}: {begun.get(key)} != {asked[key]}" for key in asked if begun.get(key) != asked[key]
        ]
        if changed:
            raise UserError(
                f"{folder} was begun with other settings (its value != asked for):\n  "
                + "\n  ".join(changed)
                + "\nGive another `out`."
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    json_text.write(file, asked)
