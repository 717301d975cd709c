"""From a trained run to one that is adapted to a subject: a folder, written whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from simdata.common.checksum import sha256
from simdata.common.errors import UserError
from simtrain.adaptation.choice import choose_penalty
from simtrain.adaptation.material import Material
from simtrain.adaptation.procrustes import rotations
from simtrain.data.dataset import Dataset
from simtrain.training import adapted, checkpoint
from simtrain.training.adapted import Adaptation
from simtrain.training.run_folder import MODEL, FitRun
from simtrain.training.trained_model import load_learner


def adapt(
    run: FitRun, dataset: Dataset, subject: str, out: Path, minutes: float | None, device: torch.device
) -> FitRun:
    """Align a subject's BOLD with that of the training subjects, in front of the frozen model of a run.

    Parameters
    ----------
    dataset : with the sets of the run's training (`FitRun.divided`)
    out : of the adapted run: new or empty, or one of the same adaptation, which is done then
    minutes : of the subject's BOLD; None: all that answers training scenes

    Raises
    ------
    UserError
        If the run has no model or is adapted itself, ``out`` holds something else, or as `Material.of`.
    """
    if run.adaptation is not None:
        raise UserError(f"{run.path} is {run.adaptation}: give the run that it was made of")
    if run.config.context.before or run.config.context.after:
        raise UserError(
            f"{run.path} sees BOLD around its windows (context), and adaptation knows windows alone: give "
            "a run without"
        )
    material = Material.of(run, dataset, subject, minutes)
    if (out / adapted.FILE).exists():
        return _done(out, run, material)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is no adapted run: give `out` a new or empty folder")
    learner = load_learner(run, dataset, device)
    components = material.components(learner)
    own, others = material.scores(learner, components)
    losses = choose_penalty(learner, material, components, own, others)
    penalty = min(reversed(losses), key=lambda one: losses[one])  # of equal ones, the strongest prior
    found = Adaptation(
        **_known(run, material),
        penalty=penalty,
        losses={"before": losses[None], "after": losses[penalty]},
    )
    if penalty is None:
        return _written(run, out, found)
    state = {**components._asdict(), "rotations": rotations(own, others, penalty)}
    return _written(run, out, found, {name: tensor.cpu() for name, tensor in state.items()})


def _known(run: FitRun, material: Material) -> dict[str, Any]:
    """Of an adaptation, what is known before the work."""
    film = material.film
    scenes = material.dataset.identity["scenes"]
    return {
        "subject": material.dataset.subjects[material.subject],
        "seconds": material.seconds,
        "film": film,
        "others": material.names,
        "scenes": {movie: scenes[movie] for movie in film},
        "of": {"name": run.path.absolute().name, "weights_sha256": sha256(run.tested)},
    }


def _done(out: Path, run: FitRun, material: Material) -> FitRun:
    """The adapted run that is there, if it is the same."""
    there = FitRun.open(out)
    others = [
        name for name, value in _known(run, material).items() if getattr(there.adaptation, name) != value
    ]
    if others:
        raise UserError(
            f"{out} is {there.adaptation}, and not of what is asked for ({', '.join(others)}): give another "
            "`out`"
        )
    return there


def _written(
    run: FitRun, out: Path, found: Adaptation, alignment: dict[str, torch.Tensor] | None = None
) -> FitRun:
    """The folder of the adapted run: the model's files, the alignment if there is one, and the record."""
    temporary = out.with_name(f".{out.name}.writing")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for name in MODEL:
        if (run.path / name).is_dir():
            shutil.copytree(run.path / name, temporary / name)
        elif (run.path / name).exists():
            shutil.copyfile(run.path / name, temporary / name)
    if alignment is not None:
        checkpoint.save(temporary / adapted.WEIGHTS, alignment)
    found.write(temporary)
    if out.exists():
        out.rmdir()  # it is empty
    os.replace(temporary, out)
    return FitRun.open(out)
