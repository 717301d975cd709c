"""The model of a training run, ready to be tested."""

from __future__ import annotations

import math

import torch

from simdata.common.errors import UserError
from simtrain.data.dataset import Dataset
from simtrain.models.learner import Learner
from simtrain.training import checkpoint
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
        learner.load_state_dict(state["learner"])
    except RuntimeError as error:
        raise UserError(f"{run.path} does not fit {dataset.path}: {error}") from None
    if not 0 < (temperature := learner.loss.temperature) < math.inf:
        raise UserError(f"{run.path} has a temperature of {temperature}: {checkpoint.USELESS}")
    return learner.to(device).eval()
