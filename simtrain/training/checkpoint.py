"""Checkpoints: written whole or not at all, read without running any code in them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from simdata.common.errors import UserError
from simtrain.common.finite import must_be_sound

LAST, BEST = "checkpoint.pt", "best.pt"
CHECKPOINTS = ("best", "last")  # what a run may be tested with
USELESS = "nothing can be made of it; train anew, with a lower train.learning_rate, with another `out`"


def save(path: Path, state: dict[str, Any]) -> None:
    """Replace ``path`` by ``state`` (tensors and plain types only); a crash leaves the one before."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load(path: Path) -> dict[str, Any]:
    """The state in ``path``, on the CPU.

    Raises
    ------
    UserError
        If the file is cut short, or something else.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise UserError(
            f"{path} is damaged, or no checkpoint of simtrain ({type(error).__name__}): take it from a "
            "copy, or delete it to begin anew"
        ) from None


def weights_file(run: Path, which: str = CHECKPOINTS[0]) -> Path:
    """Where the weights of a run are: the best by validation, if they are asked for and kept, or the last."""
    best = run / BEST
    return best if which == "best" and best.exists() else run / LAST


def load_tested(path: Path) -> dict[str, Any]:
    """What a checkpoint is tested with: ``step``, and ``learner``, a state_dict.

    The weights are averaged, if the run averages them.

    Raises
    ------
    UserError
        If they are not finite.
    """
    state = load(path)
    weights = tested_weights(state)
    must_be_sound(weights, path, USELESS)
    return {"step": state["step"], "learner": weights}


def step_of(path: Path) -> int:
    """The step behind which a checkpoint was written, without reading its weights."""
    return int(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["step"])


def tested_weights(state: dict[str, Any]) -> dict[str, Any]:
    """The learner's state_dict in the state of a training, with averaged weights if it averages them."""
    return state["learner"] | (state.get("average") or {})
