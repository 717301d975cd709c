"""What several functions take in more than one form: runs, experiments and the set that is tested."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Protocol

from simdata.common.errors import UserError
from simtrain.common.choices import must_be_one_of
from simtrain.data.experiments import ALL, EXPERIMENTS, SEEN, TESTED_SETS
from simtrain.training.checkpoint import CHECKPOINTS
from simtrain.training.run_folder import FitRun


class HasPath(Protocol):
    """Anything that a run folder is known by, such as what `simtrain.load_run` returns."""

    path: Path


RunLike = str | PathLike[str] | HasPath


def folder_of(run: RunLike) -> Path:
    """The folder itself, whether there is one or not."""
    return Path(run if isinstance(run, str | PathLike) else run.path)


def open_run(run: RunLike, checkpoint: str = CHECKPOINTS[0]) -> FitRun:
    """The run in a folder, or of an object that has a ``path``, for tests of its best weights or its last."""
    must_be_one_of("checkpoint", checkpoint, CHECKPOINTS)
    return FitRun.open(folder_of(run), checkpoint)


def one_or_all(experiment: str) -> str | None:
    """The experiment, None for all; a UserError if there is none of this name."""
    must_be_one_of("experiment", experiment, (*EXPERIMENTS, ALL))
    return None if experiment == ALL else experiment


def tested_or_all(experiment: str) -> str | None:
    """The same of a retrieval test, which may also be of what was trained on."""
    must_be_one_of("experiment", experiment, (*EXPERIMENTS, SEEN, ALL))
    return None if experiment == ALL else experiment


def set_to_test(split: str | None, experiment: str, to_choose: bool) -> str:
    """The set that is tested: ``test``, ``val``, or ``train`` of what was ``SEEN``.

    Parameters
    ----------
    split : str, optional
        As asked for; None: test, or val.
    experiment : str
        As asked for.
    to_choose : bool
        Whether it is val then, since something may be chosen by what is asked for.

    Raises
    ------
    UserError
        If there is none of this name, or one is asked for of what was seen.
    """
    if split is None:
        return "train" if experiment == SEEN else "val" if to_choose else "test"
    must_be_one_of("split", split, TESTED_SETS)
    if experiment == SEEN:
        raise UserError(f"`split` {split} with `experiment` {SEEN}: that is of the training set")
    return split


def names_in(given: str | Iterable[str]) -> tuple[str, ...]:
    """One name, or several."""
    return (given,) if isinstance(given, str) else tuple(given)
