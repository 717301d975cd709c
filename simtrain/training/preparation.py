"""What every training begins with: its samples, and a learner with the patches that were asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from simdata.common.errors import UserError
from simtrain.config.resolved import Resolved, ResolvedData
from simtrain.data import windows
from simtrain.data.lag_jitter import training_samples
from simtrain.data.windows import Windows
from simtrain.models.patch_table import kept_table
from simtrain.training.run_folder import AnyRun
from simtrain.training.step import AnyLearner


def find_samples(used: Windows, config: Resolved) -> tuple[np.ndarray, np.ndarray]:
    """(n,) SAMPLE to train on, and (m,) SAMPLE to validate with.

    Raises
    ------
    UserError
        If there is less than a batch, or the lag's jitter leads before the stimulus.
    """
    data, size, found = config.data, config.train.batch_size, used.find()
    trained = windows.training(found)
    if isinstance(data, ResolvedData):
        samples = training_samples(trained, data)
    else:
        samples = windows.by_hemisphere(trained, data.sides)
    if len(samples) < size:
        raise UserError(
            f"{used.dataset.path} has {len(samples)} training samples at a lag of {data.lag} s, less than a "
            f"batch (train.batch_size: {size}): see `simdata info` for its runs and sets"
        )
    return samples, windows.by_hemisphere(windows.validation(found), data.sides)


def new_learner(run: AnyRun, make: Callable[[], AnyLearner]) -> AnyLearner:
    """What ``make`` makes, with the random weights of the run's seed and its own order of patches."""
    torch.manual_seed(run.config.train.seed)
    learner, model = make(), run.config.model
    if model.patches is not None:
        kept_table(run.path, model.patches, model.ico).lay_out(learner.encoder)
    return learner
