"""The model of a training run, ready to be tested."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from simdata.common.errors import UserError
from simtrain.common.finite import must_be_sound
from simtrain.data.dataset import Dataset
from simtrain.data.features import of_one_store
from simtrain.models.alignment import Alignment, Components
from simtrain.models.learner import Learner
from simtrain.training import checkpoint
from simtrain.training.adapted import WEIGHTS
from simtrain.training.run_folder import FitRun


def load_learner(run: FitRun, dataset: Dataset, device: torch.device) -> Learner:
    """The trained model of a run, ready to embed windows and clips of a store.

    Raises
    ------
    UserError
        If the run has no model yet, its weights are not finite, or it does not fit the store.
    """
    if not run.checkpoint.exists():
        raise UserError(f"{run.path} has no checkpoint yet: train it with `simtrain fit`")
    run.must_suit(dataset)
    learner = Learner(run.config.as_tested, dataset, dataset.embeddings(run.config))
    state = checkpoint.load_tested(run.tested)
    run.must_have_projectors(state["step"])
    try:
        learner.load_state_dict(of_one_store(state["learner"], run.number_of(dataset)))
    except RuntimeError as error:
        raise UserError(f"{run.path} does not fit {dataset.path}: {error}") from None
    if not 0 < (temperature := learner.loss.temperature) < math.inf:
        raise UserError(f"{run.path} has a temperature of {temperature}: {checkpoint.USELESS}")
    learner.to(device)
    if run.adaptation is not None and run.adaptation.penalty is not None:
        subject = dataset.subjects.index(run.adaptation.subject)
        learner.alignment = _alignment(learner, run.path, subject)
    return learner.eval()


def _alignment(learner: Learner, run: Path, subject: int) -> Alignment:
    file = run / WEIGHTS
    state = checkpoint.load(file)
    must_be_sound(state, file, "adapt the run anew")
    state = {name: tensor.to(learner.device) for name, tensor in state.items()}
    rotations = state.pop("rotations")
    return Alignment(Components(**state), rotations, learner.sides, subject)
